//! Whole frames over loss, as SVG: one panel for each pattern of loss, one line for each program.

use std::fmt::Write;

const PANEL: (f64, f64) = (400.0, 300.0);
const MARGIN: (f64, f64) = (60.0, 40.0);
const MOST_LOSS: f64 = 20.0;
const LEGEND_LINE: f64 = 18.0;
/// Told apart by those who do not see all colours, too: Okabe and Ito's.
const COLOURS: [&str; 8] = [
    "#0072b2", "#009e73", "#56b4e9", "#cc79a7", "#d55e00", "#e69f00", "#000000", "#999999",
];

pub(crate) struct Point {
    pub(crate) panel: &'static str,
    pub(crate) line: &'static str,
    /// In percent.
    pub(crate) loss: f64,
    /// 0 to 1.
    pub(crate) whole: f64,
}

pub(crate) fn draw(points: &[Point]) -> String {
    let lines = distinct(points.iter().map(|p| p.line));
    let panels = distinct(points.iter().map(|p| p.panel));
    let width = (PANEL.0 + MARGIN.0 + 20.0) * panels.len() as f64;
    let height = PANEL.1 + 2.0 * MARGIN.1 + 10.0 + LEGEND_LINE * lines.len().div_ceil(2) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, panel) in panels.iter().enumerate() {
        let left = MARGIN.0 + n as f64 * (PANEL.0 + MARGIN.0 + 20.0);
        axes(&mut svg, left, panel);
        for (colour, line) in COLOURS.iter().cycle().zip(&lines) {
            let on_it = points
                .iter()
                .filter(|p| p.panel == *panel && p.line == *line);
            curve(&mut svg, left, colour, on_it);
        }
    }
    for (n, (colour, line)) in COLOURS.iter().cycle().zip(&lines).enumerate() {
        let x = MARGIN.0 + (n % 2) as f64 * width / 2.0;
        let y = MARGIN.1 + PANEL.1 + 55.0 + (n / 2) as f64 * LEGEND_LINE;
        let _ = writeln!(
            svg,
            "<path d=\"M{x} {y}h24\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{}\" y=\"{}\">{line}</text>",
            x + 30.0,
            y + 4.0
        );
    }
    svg + "</svg>\n"
}

fn distinct(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

fn place(left: f64, loss: f64, whole: f64) -> (f64, f64) {
    (
        left + loss / MOST_LOSS * PANEL.0,
        MARGIN.1 + (1.0 - whole) * PANEL.1,
    )
}

fn axes(svg: &mut String, left: f64, title: &str) {
    for percent in [0, 25, 50, 75, 100] {
        let (x, y) = place(left, 0.0, f64::from(percent) / 100.0);
        let _ = writeln!(
            svg,
            "<path d=\"M{x} {y}h{}\" stroke=\"#ccc\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{percent} %</text>",
            PANEL.0,
            x - 6.0,
            y + 4.0
        );
    }
    for percent in [0, 1, 3, 5, 10, 20] {
        let (x, y) = place(left, f64::from(percent), 0.0);
        let _ = writeln!(
            svg,
            "<path d=\"M{x} {y}v5\" stroke=\"#666\"/><text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{percent}</text>",
            y + 18.0
        );
    }
    let (middle, bottom) = place(left, MOST_LOSS / 2.0, 0.0);
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">packets lost, %</text>\
         <text x=\"{middle}\" y=\"24\" text-anchor=\"middle\" font-size=\"14\">whole frames, loss: {title}</text>",
        bottom + 36.0
    );
}

fn curve<'a>(svg: &mut String, left: f64, colour: &str, points: impl Iterator<Item = &'a Point>) {
    let mut path = String::new();
    for point in points.filter(|p| p.whole.is_finite()) {
        let (x, y) = place(left, point.loss, point.whole);
        let _ = write!(
            path,
            "{}{x:.1} {y:.1}",
            if path.is_empty() { "M" } else { "L" }
        );
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
}
