//! How the cost grows: with the body, the connections, the secrets, and the deliveries that are
//! remembered.

use std::path::Path;
use std::time::Duration;

use tower_webhook::{Secret, Secrets, WebhookLayer};

use crate::apps::{self, signed};
use crate::cases::around;
use crate::paired::compare;
use crate::svg::{Chart, number};
use crate::{cases, loopback};

const KIB: usize = 1 << 10;

/// Measures, and writes a chart for each into this folder, with the figures as a table on stdout.
pub fn draw(folder: &Path, budget: Duration) {
    let write = |name: &str, chart: &Chart<'_>| {
        for (series, points) in &chart.series {
            let points: Vec<_> =
                points.iter().map(|(x, y)| format!("{}: {}", (chart.tick.0)(*x), (chart.tick.1)(*y))).collect();
            println!("{}, {series}: {}", chart.title, points.join(", "));
        }
        std::fs::write(folder.join(format!("{name}.svg")), chart.render()).unwrap();
    };
    write("body", &body(budget));
    write("connections", &connections(budget));
    write("secrets", &secrets(budget));
    write("remembered", &remembered(budget));
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn body(budget: Duration) -> Chart<'static> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for len in [KIB / 4, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB] {
        let (mut layer, mut bare) = cases::outside(apps::behind(), len);
        let times = compare(&mut *layer, &mut *bare, budget).times;
        ours.push((len as f64, micros(times.0)));
        theirs.push((len as f64, micros(times.1)));
    }
    Chart {
        title: "A request, by the length of its body",
        x: "length of the body",
        y: "µs",
        tick: (bytes, number),
        is_log: true,
        series: vec![("verified by the layer".to_owned(), ours), ("bare handler and bare MAC".to_owned(), theirs)],
    }
}

fn connections(budget: Duration) -> Chart<'static> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for connections in [1, 4, 16, 64, 256] {
        let rates = loopback::compare(loopback::on_route, connections, budget * 2);
        ours.push((connections as f64, rates.requests.0));
        theirs.push((connections as f64, rates.requests.1));
    }
    Chart {
        title: "Requests a second over loopback, by connections",
        x: "connections",
        y: "requests a second",
        tick: (number, number),
        is_log: false,
        series: vec![("verified, on a route".to_owned(), ours), ("bare handler".to_owned(), theirs)],
    }
}

fn secrets(budget: Duration) -> Chart<'static> {
    let series = [KIB, 64 * KIB].map(|len| {
        let points = [1, 2, 4, 8].map(|count| {
            let secrets =
                (0..count).map(|n| Secret::new(if n == 0 { apps::SECRET.into() } else { format!("older {n}") }));
            let layer = WebhookLayer::new(apps::sender_of(Secrets::new(secrets)));
            let request = || signed(apps::body(len));
            let mut many = around(layer, apps::behind(), request());
            let mut one = around(apps::layer(), apps::behind(), request());
            (f64::from(count), compare(&mut *many, &mut *one, budget).median)
        });
        (bytes(len as f64), points.to_vec())
    });
    Chart {
        title: "A request with several secrets / with one, by their number",
        x: "secrets",
        y: "times as long",
        tick: (number, number),
        is_log: false,
        series: series.to_vec(),
    }
}

fn remembered(budget: Duration) -> Chart<'static> {
    let points = [1_000, 10_000, 100_000, 1_000_000].map(|count| {
        let (mut ours, mut theirs) = crate::dedup::among(count);
        let times = compare(&mut *ours, &mut *theirs, budget).times;
        ((count as f64, micros(times.0)), (count as f64, micros(times.1)))
    });
    Chart {
        title: "A deduplicated request, by the deliveries that are remembered",
        x: "deliveries that are remembered",
        y: "µs",
        tick: (number, number),
        is_log: false,
        series: vec![
            ("deduplicated".to_owned(), points.iter().map(|point| point.0).collect()),
            ("without".to_owned(), points.iter().map(|point| point.1).collect()),
        ],
    }
}

fn bytes(len: f64) -> String {
    match len {
        len if len >= 1_048_576.0 => format!("{} MiB", len / 1_048_576.0),
        len if len >= 1024.0 => format!("{} KiB", len / 1024.0),
        len => format!("{len} B"),
    }
}
