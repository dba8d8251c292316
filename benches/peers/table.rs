//! Markdown tables, and the verdicts below them.

/// A table that grows row by row.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(title: &str, columns: &[&str]) -> Table {
        println!("\n### {title}\n");
        eprintln!("{title}");
        Table {
            rows: vec![columns.iter().map(|&c| c.to_owned()).collect()],
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        eprintln!("  {}", cells.join(" | "));
        self.rows.push(cells);
    }

    pub(crate) fn print(&self) {
        for (n, row) in self.rows.iter().enumerate() {
            println!("| {} |", row.join(" | "));
            if n == 0 {
                println!("|{}", "---|".repeat(row.len()));
            }
        }
        println!();
    }
}

/// A cell's text; a dash where there is nothing to measure.
pub(crate) fn figure(value: f64, text: impl FnOnce(f64) -> String) -> String {
    match value.is_nan() {
        true => "–".to_owned(),
        false => text(value),
    }
}

/// One target, and whether this run keeps it.
pub(crate) fn target(what: &str, value: f64, unit: &str, is_kept: bool) {
    let verdict = if is_kept { "kept" } else { "**missed**" };
    println!("- {what}: {value:.2}{unit}, {verdict}");
}

/// The value below which `fraction` of the values are. NaN if there are none.
pub(crate) fn percentile(values: &[f64], fraction: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * fraction) as usize;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}
