//! The figures in one table, each beside its aim.

use std::time::Duration;

/// A figure.
struct Row {
    what: String,
    value: String,
    /// What was measured beside it, in the same run.
    against: String,
    aim: String,
    holds: Option<bool>,
}

/// Figures, in the order of measuring.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// A figure with a limit that it should stay under, where there is one.
    pub(super) fn under(&mut self, what: &str, value: f64, unit: &str, aim: Option<f64>) {
        let shown = |value: f64| match value {
            value if value >= 100.0 => format!("{value:.0} {unit}"),
            value if value >= 10.0 => format!("{value:.1} {unit}"),
            value => format!("{value:.2} {unit}"),
        };
        let row = Row {
            what: what.to_owned(),
            value: shown(value),
            against: String::new(),
            aim: aim.map_or_else(String::new, |aim| format!("under {aim:.0} {unit}")),
            holds: aim.map(|aim| value < aim),
        };
        self.add(row);
    }

    /// A ratio of two times of one run, and how large it may be.
    pub(super) fn ratio(&mut self, what: &str, ours: Duration, theirs: Duration, against: &str, aim: Option<f64>) {
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64().max(1e-9);
        let row = Row {
            what: what.to_owned(),
            value: format!("{ratio:.1}x"),
            against: format!("{} to {} of {against}", time(ours), time(theirs)),
            aim: aim.map_or_else(String::new, |aim| format!("within {aim:.0}x")),
            holds: aim.map(|aim| ratio <= aim),
        };
        self.add(row);
    }

    fn add(&mut self, row: Row) {
        eprintln!("  {}: {} {}", row.what, row.value, row.against);
        self.rows.push(row);
    }

    /// The table as Markdown, which reads well as it is.
    pub(super) fn print(&self) {
        println!("\n| figure | value | measured beside it | aim | |");
        println!("|-|-|-|-|-|");
        for Row { what, value, against, aim, holds } in &self.rows {
            let verdict = match holds {
                Some(true) => "holds",
                Some(false) => "MISSED",
                None => "",
            };
            println!("| {what} | {value} | {against} | {aim} | {verdict} |");
        }
    }
}

/// A time as people write it.
fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}
