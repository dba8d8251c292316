//! The parts of a plot that the benchmarks' plots share, as SVG: panels side by side, with axes,
//! curves and a legend. What is plotted, and where a value stands in its panel, is theirs.

use std::fmt::Write;

/// Width and height of a panel.
pub(crate) const PANEL: (f64, f64) = (400.0, 300.0);
/// Left of it and above it.
pub(crate) const MARGIN: (f64, f64) = (60.0, 40.0);
pub(crate) const LEGEND_LINE: f64 = 18.0;
/// From one panel's left side to the next one's.
const STEP: f64 = PANEL.0 + MARGIN.0 + 20.0;

/// A drawing of so many panels; `below`: the height under their axes' titles.
pub(crate) fn begin(panels: usize, below: f64) -> String {
    let (width, height) = (width(panels), PANEL.1 + 2.0 * MARGIN.1 + below);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    )
}

pub(crate) fn end(svg: String) -> String {
    svg + "</svg>\n"
}

pub(crate) fn width(panels: usize) -> f64 {
    STEP * panels as f64
}

/// The left side of panel `n`.
pub(crate) fn left(n: usize) -> f64 {
    MARGIN.0 + n as f64 * STEP
}

/// The middle of the legend's line `n`.
pub(crate) fn legend_y(n: usize) -> f64 {
    MARGIN.1 + PANEL.1 + 55.0 + n as f64 * LEGEND_LINE
}

/// The position of a value this far to the right and this far up in the panel, each 0 to 1.
pub(crate) fn place(left: f64, right: f64, up: f64) -> (f64, f64) {
    (left + right * PANEL.0, MARGIN.1 + (1.0 - up) * PANEL.1)
}

/// A line across the panel at `(x, y)`, its left end, with its value.
pub(crate) fn y_tick(svg: &mut String, (x, y): (f64, f64), value: &str) {
    let _ = writeln!(
        svg,
        "<path d=\"M{x} {y}h{}\" stroke=\"#ccc\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{value}</text>",
        PANEL.0,
        x - 6.0,
        y + 4.0
    );
}

/// A mark on the axis at `(x, y)`, with its value.
pub(crate) fn x_tick(svg: &mut String, (x, y): (f64, f64), value: &str) {
    let _ = writeln!(
        svg,
        "<path d=\"M{x} {y}v5\" stroke=\"#666\"/><text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
        y + 18.0
    );
}

/// The panel's title, and its horizontal axis'.
pub(crate) fn titles(svg: &mut String, left: f64, title: &str, x_axis: &str) {
    let (middle, bottom) = place(left, 0.5, 0.0);
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{x_axis}</text>\
         <text x=\"{middle}\" y=\"24\" text-anchor=\"middle\" font-size=\"14\">{title}</text>",
        bottom + 36.0
    );
}

/// A line through these places, each with a dot.
pub(crate) fn curve(svg: &mut String, colour: &str, places: impl Iterator<Item = (f64, f64)>) {
    let mut path = String::new();
    for (x, y) in places {
        let step = if path.is_empty() { "M" } else { "L" };
        let _ = write!(path, "{step}{x:.1} {y:.1}");
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

/// A line's name in the legend, at `x`, `y`.
pub(crate) fn legend(svg: &mut String, (x, y): (f64, f64), colour: &str, name: &str) {
    let _ = writeln!(
        svg,
        "<path d=\"M{x} {y}h24\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{}\" y=\"{}\">{name}</text>",
        x + 30.0,
        y + 4.0
    );
}

/// Each name once, in the order of the first.
pub(crate) fn distinct(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}
