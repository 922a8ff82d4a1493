//! The gateway's output: lines on stdout and stderr, written by threads of their own, so that a
//! reader who stalls holds up no request.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// How many lines wait for a reader.
const MAX_WAITING: usize = 1024;

/// How long a delivery waits for its line to be written. After that its sender gets a 503.
const PATIENCE: Duration = Duration::from_secs(5);

struct Line {
    text: String,
    /// Told once the line is written.
    written: Option<oneshot::Sender<()>>,
}

/// Lines for one output.
#[derive(Clone)]
pub struct Lines {
    queue: mpsc::Sender<Line>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    /// Starts the thread that writes to this output.
    pub fn to(mut output: impl Write + Send + 'static) -> Self {
        let (queue, mut lines) = mpsc::channel::<Line>(MAX_WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        std::thread::spawn(move || {
            while let Some(line) = lines.blocking_recv() {
                let dropped = lost.swap(0, Ordering::Relaxed);
                if dropped > 0 && writeln!(output, "{dropped} lines were dropped: nobody read them").is_err() {
                    return;
                }
                if writeln!(output, "{}", line.text).and_then(|()| output.flush()).is_err() {
                    return;
                }
                if let Some(written) = line.written {
                    // The delivery that waited may have been given up.
                    let _ = written.send(());
                }
            }
        });
        Self { queue, dropped }
    }

    /// Writes a line, or counts it as dropped if too many wait already. It never blocks.
    pub fn report(&self, text: String) {
        if self.queue.try_send(Line { text, written: None }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes a line and returns whether it is written. A line that is given up may still be
    /// written later.
    pub async fn write(&self, text: String) -> bool {
        let (written, told) = oneshot::channel();
        let write = async {
            self.queue.send(Line { text, written: Some(written) }).await.ok()?;
            told.await.ok()
        };
        matches!(tokio::time::timeout(PATIENCE, write).await, Ok(Some(())))
    }
}
