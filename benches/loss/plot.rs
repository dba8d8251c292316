//! Whole frames over loss, as SVG: one panel for each pattern of loss, one line for each program.

use crate::svg;

const MOST_LOSS: f64 = 20.0;
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
    let lines = svg::distinct(points.iter().map(|p| p.line));
    let panels = svg::distinct(points.iter().map(|p| p.panel));
    let legend = svg::LEGEND_LINE * lines.len().div_ceil(2) as f64;
    let mut svg = svg::begin(panels.len(), 10.0 + legend);
    for (n, panel) in panels.iter().enumerate() {
        let left = svg::left(n);
        axes(&mut svg, left, panel);
        for (colour, line) in COLOURS.iter().cycle().zip(&lines) {
            let on_it = points
                .iter()
                .filter(|p| p.panel == *panel && p.line == *line && p.whole.is_finite());
            svg::curve(
                &mut svg,
                colour,
                on_it.map(|p| place(left, p.loss, p.whole)),
            );
        }
    }
    for (n, (colour, line)) in COLOURS.iter().cycle().zip(&lines).enumerate() {
        let x = svg::MARGIN.0 + (n % 2) as f64 * svg::width(panels.len()) / 2.0;
        svg::legend(&mut svg, (x, svg::legend_y(n / 2)), colour, line);
    }
    svg::end(svg)
}

fn place(left: f64, loss: f64, whole: f64) -> (f64, f64) {
    svg::place(left, loss / MOST_LOSS, whole)
}

fn axes(svg: &mut String, left: f64, title: &str) {
    for percent in [0, 25, 50, 75, 100] {
        let at = place(left, 0.0, f64::from(percent) / 100.0);
        svg::y_tick(svg, at, &format!("{percent} %"));
    }
    for percent in [0, 1, 3, 5, 10, 20] {
        let at = place(left, f64::from(percent), 0.0);
        svg::x_tick(svg, at, &percent.to_string());
    }
    let title = format!("whole frames, loss: {title}");
    svg::titles(svg, left, &title, "packets lost, %");
}
