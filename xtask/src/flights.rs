//! The flights of `examples/data/flights.csv` as parameters of an `insert`.

use std::fmt::Write as _;
use std::path::Path;

use crate::Result;

/// Columns that are text; the others are whole numbers.
const TEXTS: [&str; 5] = ["carrier", "tailnum", "origin", "dest", "time_hour"];

/// `create table flights (…)`.
pub(crate) fn create_table(header: &str) -> String {
    let columns: Vec<String> = header
        .split(',')
        .map(|name| format!("{name} {}", if TEXTS.contains(&name) { "text" } else { "integer" }))
        .collect();
    format!("create table flights ({})", columns.join(", "))
}

/// The arguments of `execute-many`, as JSON. The file has no quotes in it.
pub(crate) fn arguments(csv: &Path) -> Result<(String, String)> {
    let text = std::fs::read_to_string(csv).map_err(|error| format!("{}: {error}", csv.display()))?;
    let mut lines = text.lines();
    let header = lines.next().ok_or("the file is empty")?;
    let names: Vec<&str> = header.split(',').collect();
    let places: Vec<String> = names.iter().map(|name| format!(":{name}")).collect();
    let mut json =
        format!("{{\"statement\": \"insert into flights values ({})\", \"parameters\": [", places.join(", "));
    for (index, line) in lines.enumerate() {
        json.push_str(if index == 0 { "{" } else { ", {" });
        for (place, (name, value)) in names.iter().zip(line.split(',')).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            let written = match value {
                "" => write!(json, "{comma}\"{name}\": null"),
                text if TEXTS.contains(name) => write!(json, "{comma}\"{name}\": \"{text}\""),
                number => write!(json, "{comma}\"{name}\": {number}"),
            };
            written.map_err(|error| error.to_string())?;
        }
        json.push('}');
    }
    json.push_str("]}");
    Ok((create_table(header), json))
}
