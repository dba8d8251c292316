//! Figures by the number of viewers, as SVG: one panel for each unit, both axes logarithmic.

use std::fmt::Write;

const PANEL: (f64, f64) = (400.0, 300.0);
const MARGIN: (f64, f64) = (60.0, 40.0);
const LEGEND_LINE: f64 = 18.0;
/// Powers of ten: viewers, and what a panel shows.
const X: (f64, f64) = (0.0, 4.0);
const Y: (f64, f64) = (-1.0, 4.0);
/// Told apart by those who do not see all colours, too: Okabe and Ito's.
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#000000", "#009e73", "#cc79a7", "#e69f00",
];

pub(crate) struct Point {
    pub(crate) panel: &'static str,
    pub(crate) line: &'static str,
    pub(crate) viewers: f64,
    pub(crate) value: f64,
}

pub(crate) fn draw(points: &[Point]) -> String {
    let panels: Vec<(&str, Vec<&str>)> = distinct(points.iter().map(|p| p.panel))
        .into_iter()
        .map(|panel| {
            let of_panel = points.iter().filter(|p| p.panel == panel);
            (panel, distinct(of_panel.map(|p| p.line)))
        })
        .collect();
    let most_lines = panels.iter().map(|(_, lines)| lines.len()).max();
    let width = (PANEL.0 + MARGIN.0 + 20.0) * panels.len() as f64;
    let legend = LEGEND_LINE * most_lines.unwrap_or(0) as f64;
    let height = PANEL.1 + 2.0 * MARGIN.1 + 20.0 + legend;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, (panel, lines)) in panels.iter().enumerate() {
        let left = MARGIN.0 + n as f64 * (PANEL.0 + MARGIN.0 + 20.0);
        axes(&mut svg, left, panel);
        for (n, (colour, line)) in COLOURS.iter().cycle().zip(lines).enumerate() {
            let is_on_it = |p: &&Point| p.panel == *panel && p.line == *line;
            curve(&mut svg, left, colour, points.iter().filter(is_on_it));
            let y = MARGIN.1 + PANEL.1 + 55.0 + n as f64 * LEGEND_LINE;
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {y}h24\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{}\" y=\"{}\">{line}</text>",
                left + 30.0,
                y + 4.0
            );
        }
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

fn place(left: f64, viewers: f64, value: f64) -> (f64, f64) {
    let part = |v: f64, (from, to): (f64, f64)| {
        ((v.max(1e-9).log10() - from) / (to - from)).clamp(0.0, 1.0)
    };
    (
        left + part(viewers, X) * PANEL.0,
        MARGIN.1 + (1.0 - part(value, Y)) * PANEL.1,
    )
}

fn axes(svg: &mut String, left: f64, unit: &str) {
    for power in Y.0 as i32..=Y.1 as i32 {
        let value = 10_f64.powi(power);
        let (x, y) = place(left, 1.0, value);
        let _ = writeln!(
            svg,
            "<path d=\"M{x} {y}h{}\" stroke=\"#ccc\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{value}</text>",
            PANEL.0,
            x - 6.0,
            y + 4.0
        );
    }
    for power in X.0 as i32..=X.1 as i32 {
        let value = 10_f64.powi(power);
        let (x, y) = place(left, value, 1e-9);
        let _ = writeln!(
            svg,
            "<path d=\"M{x} {y}v5\" stroke=\"#666\"/><text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
            y + 18.0
        );
    }
    let (middle, bottom) = (left + PANEL.0 / 2.0, MARGIN.1 + PANEL.1);
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">viewers</text>\
         <text x=\"{middle}\" y=\"24\" text-anchor=\"middle\" font-size=\"14\">{unit}</text>",
        bottom + 36.0
    );
}

fn curve<'a>(svg: &mut String, left: f64, colour: &str, points: impl Iterator<Item = &'a Point>) {
    let mut path = String::new();
    for point in points.filter(|p| p.value.is_finite()) {
        let (x, y) = place(left, point.viewers, point.value);
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
