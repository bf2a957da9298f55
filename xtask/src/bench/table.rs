//! Table of the results: Markdown for reading, JSON for programs.

use crate::{Result, setup};

/// Row of the table.
pub(super) struct Row {
    pub(super) number: &'static str,
    pub(super) what: String,
    pub(super) unit: Unit,
    pub(super) ours: f64,
    /// Name and figure of the reference.
    pub(super) reference: Option<(String, f64)>,
    /// Target as text, and whether it was reached.
    pub(super) reach: &'static str,
    pub(super) reached: Option<bool>,
}

/// Unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Lower is better.
    Seconds,
    /// Lower is better.
    Bytes,
    /// Higher is better.
    PerSecond,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::PerSecond => "per second",
        }
    }

    fn shown(self, figure: f64) -> String {
        match self {
            Self::Seconds if figure < 1e-3 => format!("{:.0} µs", figure * 1e6),
            Self::Seconds if figure < 1.0 => format!("{:.2} ms", figure * 1e3),
            Self::Seconds => format!("{figure:.2} s"),
            Self::Bytes => format!("{:.1} MiB", figure / f64::from(1 << 20)),
            Self::PerSecond if figure < 1e4 => format!("{figure:.0}/s"),
            Self::PerSecond if figure < 1e6 => format!("{:.0} k/s", figure / 1e3),
            Self::PerSecond => format!("{:.2} M/s", figure / 1e6),
        }
    }

    /// Formats the ratio of our figure to the reference.
    fn compared(self, ours: f64, reference: f64) -> String {
        match self {
            Self::Seconds if reference > 2.0 * ours => format!("{:.0} times faster", reference / ours),
            _ => format!("{:.2}", ours / reference),
        }
    }
}

/// Prints the table and writes it to `target/bench`.
pub(super) fn write(rows: &[Row], missing: &[String]) -> Result {
    let mut table =
        "| # | what | ours | reference | ratio | target | reached |\n|---|---|---|---|---|---|---|\n".to_owned();
    let mut documents = Vec::new();
    for Row { number, what, unit, ours, reference, reach, reached } in rows {
        let of = |(name, figure): &(String, f64)| format!("{}: {name}", unit.shown(*figure));
        let compared = reference.as_ref().map_or_else(String::new, of);
        let times = reference.as_ref().map_or_else(String::new, |(_, figure)| unit.compared(*ours, *figure));
        let word = match reached {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        let ours_shown = unit.shown(*ours);
        table.push_str(&format!("| {number} | {what} | {ours_shown} | {compared} | {times} | {reach} | {word} |\n"));
        documents.push(serde_json::json!({
            "number": number, "what": what, "unit": unit.name(), "figure": ours, "reached": reached, "reach": reach,
            "reference":
                reference.as_ref().map(|(name, figure)| serde_json::json!({ "name": name, "figure": figure })),
        }));
    }
    for reason in missing {
        table.push_str(&format!("\nNot measured: {reason}\n"));
    }
    let folder = setup::target().join("bench");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let document = serde_json::json!({ "rows": documents, "not_measured": missing });
    std::fs::write(folder.join("results.json"), format!("{document:#}\n")).map_err(|error| error.to_string())?;
    std::fs::write(folder.join("results.md"), &table).map_err(|error| error.to_string())?;
    println!("{table}");
    println!("written to {}", folder.join("results.md").display());
    Ok(())
}
