//! Figures by the number of viewers, as SVG: one panel for each unit, both axes logarithmic.

use crate::svg;

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
    let panels: Vec<(&str, Vec<&str>)> = svg::distinct(points.iter().map(|p| p.panel))
        .into_iter()
        .map(|panel| {
            let of_panel = points.iter().filter(|p| p.panel == panel);
            (panel, svg::distinct(of_panel.map(|p| p.line)))
        })
        .collect();
    let most_lines = panels.iter().map(|(_, lines)| lines.len()).max();
    let legend = svg::LEGEND_LINE * most_lines.unwrap_or(0) as f64;
    let mut svg = svg::begin(panels.len(), 20.0 + legend);
    for (n, (panel, lines)) in panels.iter().enumerate() {
        let left = svg::left(n);
        axes(&mut svg, left, panel);
        for (n, (colour, line)) in COLOURS.iter().cycle().zip(lines).enumerate() {
            let on_it = points
                .iter()
                .filter(|p| p.panel == *panel && p.line == *line && p.value.is_finite());
            svg::curve(
                &mut svg,
                colour,
                on_it.map(|p| place(left, p.viewers, p.value)),
            );
            svg::legend(&mut svg, (left, svg::legend_y(n)), colour, line);
        }
    }
    svg::end(svg)
}

fn place(left: f64, viewers: f64, value: f64) -> (f64, f64) {
    let part = |v: f64, (from, to): (f64, f64)| {
        ((v.max(1e-9).log10() - from) / (to - from)).clamp(0.0, 1.0)
    };
    svg::place(left, part(viewers, X), part(value, Y))
}

fn axes(svg: &mut String, left: f64, unit: &str) {
    for power in Y.0 as i32..=Y.1 as i32 {
        let value = 10_f64.powi(power);
        svg::y_tick(svg, place(left, 1.0, value), &value.to_string());
    }
    for power in X.0 as i32..=X.1 as i32 {
        let value = 10_f64.powi(power);
        svg::x_tick(svg, place(left, value, 1e-9), &value.to_string());
    }
    svg::titles(svg, left, unit, "viewers");
}
