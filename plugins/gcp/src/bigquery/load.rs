//! Configuration of load jobs.

use blockyard_sdk::prelude::*;

use super::field::Field;
use super::job::Client;
use super::table::TableName;

/// File format.
#[data]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Comma-separated values (RFC 4180).
    Csv,
    /// Newline-delimited JSON, one object per line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
    /// Apache Avro.
    Avro,
    /// Apache ORC. Supported by loads only.
    Orc,
}

/// Write disposition: treatment of existing rows of the table.
#[data]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Write {
    /// Keeps existing rows and adds the new ones.
    #[default]
    Append,
    /// Replaces existing rows, atomically.
    Truncate,
    /// Fails if the table contains rows.
    Empty,
}

/// Options of a load job.
pub(crate) struct Source {
    pub(crate) format: Format,
    pub(crate) write: Write,
    pub(crate) columns: Vec<Field>,
    pub(crate) autodetect: Option<bool>,
    pub(crate) header_rows: Option<u64>,
    pub(crate) max_bad_rows: u64,
}

impl Format {
    /// Returns `declared`, or otherwise the format that the file extension of `name` implies.
    pub(crate) fn of(declared: Option<Self>, name: Option<&str>) -> Result<Self> {
        let name = name.unwrap_or_default();
        let name = name.strip_suffix(".gz").unwrap_or(name);
        let implied = match name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).as_deref() {
            Some("csv") => Some(Self::Csv),
            Some("ndjson" | "jsonl" | "json") => Some(Self::Ndjson),
            Some("parquet") => Some(Self::Parquet),
            Some("avro") => Some(Self::Avro),
            Some("orc") => Some(Self::Orc),
            _ => None,
        };
        declared.or(implied).ok_or_else(|| {
            Problem::invalid(format!("the file extension of `{name}` does not imply a format")).hint("set `format`")
        })
    }

    /// Returns the name of the format in the BigQuery API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Ndjson => "NEWLINE_DELIMITED_JSON",
            Self::Parquet => "PARQUET",
            Self::Avro => "AVRO",
            Self::Orc => "ORC",
        }
    }
}

impl Write {
    pub(crate) fn disposition(self) -> &'static str {
        match self {
            Self::Append => "WRITE_APPEND",
            Self::Truncate => "WRITE_TRUNCATE",
            Self::Empty => "WRITE_EMPTY",
        }
    }
}

impl Source {
    /// Returns the configuration of the load job.
    pub(crate) fn configuration(&self, client: &Client, table: &TableName) -> Result<Value> {
        let mut load = json!({
            "destinationTable": table.reference(),
            "sourceFormat": self.format.name(),
            "writeDisposition": self.write.disposition(),
            "createDisposition": "CREATE_IF_NEEDED",
            "maxBadRecords": self.max_bad_rows,
        });
        if !self.columns.is_empty() {
            load["schema"] = json!({ "fields": self.columns });
        }
        // Parquet, Avro and ORC files contain their schema.
        let lacks_schema = matches!(self.format, Format::Csv | Format::Ndjson);
        let autodetect = match self.autodetect {
            Some(autodetect) => autodetect,
            None => lacks_schema && self.columns.is_empty() && is_missing(client, table)?,
        };
        if autodetect {
            load["autodetect"] = true.into();
        }
        if self.format == Format::Csv {
            match self.header_rows {
                Some(rows) => load["skipLeadingRows"] = rows.into(),
                // With autodetection, BigQuery also detects header rows.
                None if !autodetect => load["skipLeadingRows"] = 1.into(),
                None => {}
            }
            // Quoted CSV values may contain line breaks (RFC 4180).
            load["allowQuotedNewlines"] = true.into();
        } else if self.header_rows.is_some() {
            return Err(Problem::invalid("`header_rows` applies to CSV only"));
        }
        Ok(json!({ "load": load }))
    }
}

fn is_missing(client: &Client, table: &TableName) -> Result<bool> {
    match table.describe(client) {
        Ok(_) => Ok(false),
        Err(problem) if problem.code() == "not-found" => Ok(true),
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_extensions_imply_formats() {
        let implied = |name: &str| Format::of(None, Some(name)).ok();
        assert_eq!(implied("gs://b/a.CSV.gz"), Some(Format::Csv));
        assert_eq!(implied("gs://b/a.csv.gz"), Some(Format::Csv));
        assert_eq!(implied("gs://b/part-*.parquet"), Some(Format::Parquet));
        assert_eq!(implied("gs://b/a.json"), Some(Format::Ndjson));
        assert_eq!(implied("gs://b/a"), None);
        assert_eq!(Format::of(Some(Format::Avro), Some("gs://b/a.csv")).ok(), Some(Format::Avro));
    }
}
