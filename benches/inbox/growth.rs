//! How the cost of the inbox grows with what waits in it.

use std::path::Path;

use crate::Folder;
use crate::process::Part;
use crate::stored::BACKLOGS;
use crate::svg::{Chart, number};

/// Measures, and writes the chart into this folder, with the figures on stdout.
pub fn draw(folder: &Path) {
    let files = Folder::new();
    let mut part = Part::start(&["grow", &files.file("grown.db")]);
    let (mut puts, mut takes) = (Vec::new(), Vec::new());
    for waiting in BACKLOGS {
        let (put, take) = (part.number() * 1e6, part.number() * 1e6);
        println!("{waiting} waiting: put {put:.0} µs, take {take:.0} µs");
        puts.push((waiting as f64, put));
        takes.push((waiting as f64, take));
    }
    let chart = Chart {
        title: "The inbox in SQLite, by the deliveries that wait",
        x: "deliveries that wait",
        y: "µs",
        tick: (number, number),
        is_log: false,
        series: vec![("32 stored at once".to_owned(), puts), ("32 taken at once".to_owned(), takes)],
    };
    std::fs::write(folder.join("backlog.svg"), chart.render()).unwrap();
}
