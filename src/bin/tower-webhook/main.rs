//! The command `tower-webhook`: see what arrives, try what a sender would send, and find out why a
//! request is refused.

mod explain;
mod listen;
mod output;
mod send;
mod sender;
mod senders;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use output::{Color, Failure, Output};

/// Receive, send and explain webhooks.
///
/// Exit status: 0 if it worked; 1 if the answer is no (a request that is refused, an answer that is
/// not 2xx); 2 if the command or a setting is mistaken; 3 if something outside failed (a file, an
/// address, a connection).
#[derive(Parser)]
#[command(name = "tower-webhook", version, propagate_version = true, styles = output::STYLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Write JSON, one value a line, instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Whether to use colors
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
}

#[derive(Subcommand)]
enum Command {
    /// Receive requests, and tell of each whether it is genuine or what is wrong with it
    Listen(listen::Args),
    /// Send a genuine test event as a sender would
    Send(send::Args),
    /// Explain a saved request: verified, or what would have verified
    Explain(explain::Args),
    /// List the senders, or tell what is known of one
    Senders(senders::Args),
    /// Serve as a gateway for many senders, as a JSON file says
    Serve {
        /// The configuration; see examples/gateway.rs for its keys
        file: PathBuf,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.color.apply();
    let output = Output::new(cli.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.fail(&Failure::outside(error)),
    };
    let ended = runtime.block_on(run(cli.command, &output));
    // A diagnosis in the making ends nothing.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code,
        Err(failure) => output.fail(&failure),
    }
}

async fn run(command: Command, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Listen(args) => listen::run(args, output).await,
        Command::Send(args) => send::run(args, output).await,
        Command::Explain(args) => explain::run(args, output).await,
        Command::Senders(args) => senders::run(&args, output),
        Command::Serve { file } => serve::run(&file).await.map(|()| ExitCode::SUCCESS).map_err(Failure::mistake),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "tower-webhook", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A request was refused, or an answer was not 2xx.
const NO: u8 = 1;
