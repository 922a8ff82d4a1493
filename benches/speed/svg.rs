//! Line charts, as SVG that is written by hand.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Room for the title, the ticks and the names of the axes.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 72.0;
const BOTTOM: f64 = 56.0;
/// Told apart by people who see no red or no green, and in print by the shapes of their points.
const COLORS: [&str; 3] = ["#0b5fa5", "#d55e00", "#4d4d4d"];

/// A chart with logarithmic axes, on which a cost that grows in proportion is a straight line.
pub struct Chart<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    /// How a value on each axis is written.
    pub tick: (fn(f64) -> String, fn(f64) -> String),
    /// Whether the vertical axis is logarithmic too; if not, it starts at zero.
    pub is_log: bool,
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

impl Chart<'_> {
    pub fn render(&self) -> String {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let mut xs: Vec<f64> = points().map(|point| point.0).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let most = points().map(|point| point.1).fold(0.0, f64::max);
        let least = points().map(|point| point.1).fold(f64::MAX, f64::min);
        let (low, high) =
            if self.is_log { (least.log10().floor(), most.log10().ceil()) } else { (0.0, round_up(most * 1.05)) };
        let (first, last) = (xs[0].log2(), xs[xs.len() - 1].log2());
        let place_x = |x: f64| LEFT + (x.log2() - first) / (last - first) * (WIDTH - LEFT - RIGHT);
        let scaled = |y: f64| if self.is_log { y.log10() } else { y };
        let place_y = |y: f64| HEIGHT - BOTTOM - (scaled(y) - low) / (high - low) * (HEIGHT - TOP - BOTTOM);

        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"bold\">{}</text>\n",
            escaped(self.title)
        );
        let (right, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let ticks: Vec<f64> = if self.is_log {
            std::iter::successors(Some(low), |at| (at + 1.0 <= high).then_some(at + 1.0))
                .map(|at| 10_f64.powf(at))
                .collect()
        } else {
            (0..=5).map(|part| high * f64::from(part) / 5.0).collect()
        };
        for y in ticks {
            let (at, text) = (place_y(y), escaped(&(self.tick.1)(y)));
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 8.0,
                at + 4.5,
            );
        }
        for x in &xs {
            let (at, text) = (place_x(*x), escaped(&(self.tick.0)(*x)));
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {floor}v5\" stroke=\"#333\"/><text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{text}</text>",
                floor + 20.0,
            );
        }
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {floor}H{right}\" stroke=\"#333\"/>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(18 {:.0}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 12.0,
            escaped(self.x),
            (TOP + floor) / 2.0,
            escaped(self.y),
        );
        let mut at = LEFT;
        for ((name, points), color) in self.series.iter().zip(COLORS) {
            let line: Vec<_> = points.iter().map(|(x, y)| format!("{:.1},{:.1}", place_x(*x), place_y(*y))).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
                line.join(" ")
            );
            for (x, y) in points {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{color}\"/>",
                    place_x(*x),
                    place_y(*y)
                );
            }
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.0} 46h22\" stroke=\"{color}\" stroke-width=\"2\"/><text x=\"{:.0}\" y=\"50\">{}</text>",
                at + 28.0,
                escaped(name),
            );
            // Some 7 units a letter.
            at += 28.0 + 7.0 * name.len() as f64 + 24.0;
        }
        svg + "</svg>\n"
    }
}

/// How a number is written on an axis.
pub fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.0}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

/// Returns the next number of the form 1, 2, 2.5 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|step| step * unit).find(|step| *step >= value).unwrap_or(value)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
