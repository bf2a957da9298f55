//! Conversion of file values to the types of table columns. Each value is converted exactly, or
//! rejected with the reason.

use blockyard_sdk::prelude::*;
use blockyard_sdk::serde_json;
use blockyard_sdk::serde_json::value::RawValue;
use blockyard_sdk::sql::lexer::{Kind, Syntax, tokens};
use blockyard_sdk::sql::{self, Timestamp, Value as SqlValue, float_text};
use serde::de::IgnoredAny;

use crate::Dialect;
use crate::bytes_text;
use crate::moment::{self, DAY_MICROS, Moment};
use crate::ndjson::{Class, check_nested, class, string};
use crate::number::Digits;
use crate::style;

mod literal;

use literal::Literal;

/// A value of a file, before the type of its column is known.
#[derive(Debug, Clone)]
pub(crate) enum Datum {
    /// CSV field.
    Text { text: String, quoted: bool },
    /// JSON text of a value.
    Json(String),
    /// Value of a file format with types.
    Typed(SqlValue),
}

/// Meaning of empty CSV fields.
#[data]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Empty {
    /// An unquoted empty field is null; `""` is an empty value in a string or binary column, and
    /// null in other columns.
    #[default]
    Quoted,
    /// Unquoted empty fields and `""` are null.
    Nulls,
    /// Unquoted empty fields and `""` are an empty value in a string or binary column, and null in
    /// other columns.
    Texts,
}

/// Values that a column accepts, derived from its database type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want<'a> {
    Boolean,
    Integer {
        low: i128,
        high: i128,
    },
    /// `bit` of MySQL, which takes a string as bytes.
    Bits {
        high: u64,
    },
    /// `year` of MySQL, which maps numbers of two digits to other years.
    Year,
    Single,
    Double,
    Decimal {
        precision: Option<i64>,
        scale: Option<i64>,
    },
    /// `float` or `double` of MySQL with a fixed number of decimal places.
    FixedFloat {
        single: bool,
        precision: Option<i64>,
        scale: Option<i64>,
    },
    Text {
        characters: Option<usize>,
        /// `true` for `char`, which does not keep trailing spaces.
        trims: bool,
    },
    Bytes {
        exactly: Option<usize>,
    },
    Date,
    Time {
        places: u32,
    },
    Timestamp {
        places: u32,
    },
    Instant {
        places: u32,
        /// `true` for MySQL's `timestamp not null`, which can store null as the current time.
        required: bool,
    },
    /// Member of an `enum` of MySQL, or members of a `set`, whose definition is the type name. The
    /// server would also accept the number of a member, and ignores case.
    Member {
        of: &'a str,
        is_set: bool,
    },
    Json {
        /// `true` if the database stores values instead of text: of two members with one name, it
        /// keeps one.
        parsed: bool,
    },
    /// A SQLite column that converts strings that look like numbers; with `real`, it converts all
    /// numbers to doubles.
    Affinity {
        real: bool,
        boolean: bool,
        /// `true` if the declared type names numbers. SQLite also converts strings in columns such
        /// as `date` and `string`.
        numeric: bool,
    },
    /// JSON list, or array in the syntax of the server, of elements of this type.
    Array {
        of: &'a str,
    },
    /// PostgreSQL type whose values pass as text.
    Literal(Literal<'a>),
    /// Any value; the database validates it.
    Any,
}

/// A database value, or the reason for the rejection.
type Taken = std::result::Result<SqlValue, String>;

impl<'a> Want<'a> {
    /// Returns the values that a column of this database type accepts.
    pub(crate) fn of(dialect: Dialect, type_name: &'a str) -> Self {
        let name = type_name.trim();
        match dialect {
            Dialect::Sqlite => Self::of_sqlite(&name.to_ascii_lowercase()),
            Dialect::Postgres => Self::of_postgres(name),
            Dialect::Mysql => Self::of_mysql(name),
        }
    }

    /// Derives the type from the column affinity
    /// (https://www.sqlite.org/datatype3.html#determination_of_column_affinity).
    fn of_sqlite(name: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if has(&["int"]) {
            Self::Affinity { real: false, boolean: false, numeric: true }
        } else if has(&["char", "clob", "text"]) {
            Self::Text { characters: None, trims: false }
        } else if has(&["blob"]) {
            Self::Bytes { exactly: None }
        } else if name.is_empty() {
            Self::Any
        } else {
            let (real, boolean) = (has(&["real", "floa", "doub"]), has(&["bool"]));
            Self::Affinity { real, boolean, numeric: real || boolean || has(&["num", "dec"]) }
        }
    }

    fn of_postgres(name: &'a str) -> Self {
        // Types from the catalog, see `catalog::stored_types`.
        match name.split_once('\n') {
            Some(("list", of)) => return Self::Array { of },
            Some(("range", of)) => return Self::Literal(Literal::Range(of)),
            Some(("record", fields)) => return Self::Literal(Literal::Record(fields)),
            _ => {}
        }
        if let Some(of) = name.strip_suffix("[]") {
            return Self::Array { of };
        }
        let (word, [first, second]) = parts(name);
        let places = || first.and_then(|places| places.try_into().ok()).unwrap_or(6);
        let bits = |bits: u32| Self::Integer { low: -(1 << (bits - 1)), high: (1 << (bits - 1)) - 1 };
        match word.as_str() {
            "boolean" => Self::Boolean,
            "smallint" => bits(16),
            "integer" => bits(32),
            "bigint" => bits(64),
            "oid" | "xid" | "cid" => Self::Integer { low: 0, high: u32::MAX.into() },
            "xid8" => Self::Integer { low: 0, high: u64::MAX.into() },
            "real" => Self::Single,
            "double precision" => Self::Double,
            "numeric" => Self::Decimal { precision: first, scale: first.map(|_| second.unwrap_or(0)) },
            "text" | "citext" => Self::Text { characters: None, trims: false },
            "character varying" | "character" => {
                Self::Text { characters: first.and_then(|length| length.try_into().ok()), trims: word == "character" }
            }
            "bytea" => Self::Bytes { exactly: None },
            "date" => Self::Date,
            "time without time zone" | "time" => Self::Time { places: places() },
            "timestamp without time zone" | "timestamp" => Self::Timestamp { places: places() },
            "timestamp with time zone" | "timestamptz" => Self::Instant { places: places(), required: false },
            "json" | "jsonb" => Self::Json { parsed: word == "jsonb" },
            word => Literal::of(word, places()).map_or(Self::Any, Self::Literal),
        }
    }

    fn of_mysql(name: &'a str) -> Self {
        let (word, [first, second]) = parts(&name.to_ascii_lowercase());
        let (word, more) = word.split_once(' ').unwrap_or((word.as_str(), ""));
        let unsigned = more.contains("unsigned") || more.contains("zerofill");
        let length = first.and_then(|length| usize::try_from(length).ok());
        let places = first.and_then(|places| places.try_into().ok()).unwrap_or(0);
        let bits = |bits: u32| match unsigned {
            true => Self::Integer { low: 0, high: (1 << bits) - 1 },
            false => Self::Integer { low: -(1 << (bits - 1)), high: (1 << (bits - 1)) - 1 },
        };
        match word {
            "tinyint" if first == Some(1) && !unsigned => Self::Boolean,
            "boolean" => Self::Boolean,
            "tinyint" => bits(8),
            "smallint" => bits(16),
            "mediumint" => bits(24),
            "int" => bits(32),
            "bigint" => bits(64),
            "bit" => Self::Bits { high: u64::MAX >> (64 - first.unwrap_or(1).clamp(1, 64)) },
            "year" => Self::Year,
            "enum" | "set" => Self::Member { of: name, is_set: word == "set" },
            "float" | "double" if second.is_some() => {
                Self::FixedFloat { single: word == "float", precision: first, scale: second }
            }
            "float" => Self::Single,
            "double" => Self::Double,
            "decimal" => Self::Decimal { precision: Some(first.unwrap_or(10)), scale: Some(second.unwrap_or(0)) },
            "char" | "varchar" => Self::Text { characters: length, trims: word == "char" },
            "tinytext" | "text" | "mediumtext" | "longtext" => Self::Text { characters: None, trims: false },
            "binary" => Self::Bytes { exactly: length },
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes { exactly: None },
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => Self::Bytes { exactly: None },
            "date" => Self::Date,
            "time" => Self::Time { places },
            "datetime" => Self::Timestamp { places },
            "timestamp" => Self::Instant { places, required: more.contains("not null") },
            "json" => Self::Json { parsed: true },
            _ => Self::Any,
        }
    }

    /// Converts a file value to a database value.
    pub(crate) fn take(self, dialect: Dialect, empty: Empty, datum: Datum) -> Taken {
        if let Self::Bits { high } = self {
            let taken = Self::Integer { low: 0, high: high.into() }.take(dialect, empty, datum)?;
            let SqlValue::Decimal(digits) = taken else { return Ok(taken) };
            // A number of more than 63 bits would be sent as a string.
            let bits: u64 = digits.parse().map_err(|_| format!("`{digits}` is not {}", self.singular()))?;
            return Ok(SqlValue::Bytes(bits.to_be_bytes().to_vec()));
        }
        if self == Self::Year {
            let taken = Self::Integer { low: 0, high: 2155 }.take(dialect, empty, datum)?;
            return match taken {
                SqlValue::Integer(year @ 1..=1900) => Err(format!("the database does not support the year {year}")),
                taken => Ok(taken),
            };
        }
        let taken = match datum {
            Datum::Text { text, quoted } if text.is_empty() => self.empty(empty, quoted),
            Datum::Text { text, .. } => self.text(dialect, text)?,
            Datum::Json(json) => self.json(dialect, json)?,
            Datum::Typed(value) => self.typed(dialect, value)?,
        };
        if matches!((self, &taken), (Self::Instant { required: true, .. }, SqlValue::Null)) {
            return Err("the column is `not null`, and the database can store null as the current time".to_owned());
        }
        storable(dialect, taken)
    }

    fn empty(self, empty: Empty, quoted: bool) -> SqlValue {
        let is_text = match empty {
            Empty::Nulls => false,
            Empty::Quoted => quoted,
            Empty::Texts => true,
        };
        match self {
            Self::Text { .. } | Self::Member { .. } | Self::Any if is_text => SqlValue::Text(String::new()),
            Self::Literal(literal) if is_text && literal.has_empty() => SqlValue::Text(String::new()),
            Self::Bytes { exactly: None } if is_text => SqlValue::Bytes(Vec::new()),
            _ => SqlValue::Null,
        }
    }

    fn json(self, dialect: Dialect, json: String) -> Taken {
        Ok(match (class(&json), self) {
            (Class::Null, _) => SqlValue::Null,
            (_, Self::Json { parsed }) => self::json(json, parsed)?,
            (Class::String, _) => {
                let text = string(&json).ok_or("the string is not valid")?;
                // An empty string is not null.
                if text.is_empty() && matches!(self, Self::Text { .. } | Self::Any | Self::Affinity { .. }) {
                    SqlValue::Text(text)
                } else {
                    self.string(dialect, text)?
                }
            }
            (Class::Boolean, _) => self.typed(dialect, SqlValue::Boolean(json == "true"))?,
            (Class::Number, _) => self.number(dialect, &json)?,
            (Class::Nested, Self::Text { .. }) => self.text(dialect, json)?,
            (Class::Nested, Self::Array { of }) if json.starts_with('[') => {
                list(Self::of(dialect, of), dialect, &json)?
            }
            (Class::Nested, Self::Any | Self::Affinity { .. }) => SqlValue::Json(json),
            (Class::Nested, _) => return Err(format!("a JSON list or object is not {}", self.singular())),
        })
    }

    /// Converts a number, given as text.
    fn number(self, dialect: Dialect, text: &str) -> Taken {
        match self {
            Self::Text { .. } => self.text(dialect, text.to_owned()),
            Self::Affinity { real, boolean, .. } => affinity(text.to_owned(), real, boolean),
            Self::Any => Ok(match (text.parse(), Digits::of(text).and_then(|digits| digits.double(text))) {
                (Ok(integer), _) if text != "-0" => SqlValue::Integer(integer),
                (_, Some(float)) => SqlValue::Float(float),
                _ => SqlValue::Decimal(plain(text)),
            }),
            Self::Boolean if dialect == Dialect::Postgres => Err(format!("the number `{text}` is not a boolean")),
            Self::Bytes { .. } if dialect == Dialect::Sqlite => Self::Any.number(dialect, text),
            Self::Bytes { .. } | Self::Date | Self::Time { .. } | Self::Timestamp { .. } | Self::Instant { .. } => {
                Err(format!("the number `{text}` is not {}", self.singular()))
            }
            _ => self.text(dialect, text.to_owned()),
        }
    }

    /// Converts a string, which is not the text of a number: SQLite must not convert it to a number
    /// with another text.
    fn string(self, dialect: Dialect, text: String) -> Taken {
        let Self::Affinity { real, boolean, .. } = self else { return self.text(dialect, text) };
        let taken = affinity(text.clone(), real, boolean)?;
        let is_same = match &taken {
            SqlValue::Integer(integer) => integer.to_string() == text,
            // The sign of zero is lost, and a column of integers stores `1.0` as `1`.
            SqlValue::Float(float) if float.is_finite() => {
                let is_float = real || float.fract() != 0.0;
                let is_printed = float.to_string() == text || float_text(*float) == text;
                is_float && is_printed && !style::is_minus_zero(&text)
            }
            _ => true,
        };
        if is_same {
            return Ok(taken);
        }
        Err(format!("SQLite converts the string `{}` to a number; a column of type `text` keeps it", shown(&text)))
    }

    fn text(self, dialect: Dialect, text: String) -> Taken {
        let refused = |text: &str| format!("`{}` is not {}", shown(text), self.singular());
        let trimmed = text.trim();
        Ok(match self {
            Self::Boolean => match boolean(trimmed) {
                Some(boolean) => SqlValue::Boolean(boolean),
                None if dialect == Dialect::Mysql => {
                    Self::Integer { low: -128, high: 127 }.text(dialect, text.clone()).map_err(|_| refused(&text))?
                }
                None => return Err(refused(&text)),
            },
            Self::Year => return Self::Integer { low: 0, high: 2155 }.text(dialect, text),
            Self::Bits { high } => return Self::Integer { low: 0, high: high.into() }.text(dialect, text),
            Self::Integer { low, high } => {
                if let Some(integer) =
                    trimmed.parse().ok().filter(|integer| (low..=high).contains(&i128::from(*integer)))
                {
                    return Ok(SqlValue::Integer(integer));
                }
                let integer = Digits::of(trimmed).and_then(|digits| digits.integer()).ok_or_else(|| refused(&text))?;
                if !(low..=high).contains(&integer) {
                    return Err(format!("`{}` is not between {low} and {high}", shown(&text)));
                }
                i64::try_from(integer).map_or_else(|_| SqlValue::Decimal(integer.to_string()), SqlValue::Integer)
            }
            Self::Single | Self::Double => self.float(trimmed, &text)?,
            Self::Decimal { precision, scale } => decimal(dialect, trimmed, precision, scale)?,
            Self::FixedFloat { single, precision, scale } => {
                let taken = decimal(dialect, trimmed, precision, scale)?;
                let float = if single { Self::Single } else { Self::Double };
                float.float(trimmed, &text)?;
                taken
            }
            Self::Text { characters, trims } => {
                let length = text.chars().count();
                if let Some(most) = characters.filter(|most| length > *most) {
                    return Err(format!("the string has {length} characters, more than the {most} of the column"));
                }
                // PostgreSQL fills `char` with spaces, so they do not change a value of full length.
                let is_full = dialect == Dialect::Postgres && Some(length) == characters;
                if trims && !is_full && text.ends_with(' ') {
                    return Err("the string ends in a space, which `char` drops; `varchar` keeps it".to_owned());
                }
                SqlValue::Text(text)
            }
            Self::Bytes { .. } => {
                let bytes = bytes_text::decode(&text).ok_or_else(|| refused(&text))?;
                self.typed(dialect, SqlValue::Bytes(bytes))?
            }
            // Only the server can interpret `infinity` and `-infinity`.
            Self::Date | Self::Timestamp { .. } | Self::Instant { .. } if is_endless(dialect, trimmed) => {
                SqlValue::Text(trimmed.to_owned())
            }
            Self::Date => match (moment::date(trimmed), moment::timestamp(trimmed)) {
                (Some(days), _) => self.typed(dialect, SqlValue::Date(days))?,
                (None, Some(Moment { micros, offset_minutes: None })) => {
                    self.typed(dialect, timestamp(micros, false))?
                }
                _ => return Err(refused(&text)),
            },
            Self::Time { places } => match moment::time(trimmed) {
                Some(micros) => {
                    has_places(micros, places, &text)?;
                    SqlValue::Time(micros)
                }
                None if dialect == Dialect::Mysql && is_interval(trimmed, places) => SqlValue::Text(trimmed.to_owned()),
                None => return Err(refused(&text)),
            },
            Self::Timestamp { .. } | Self::Instant { .. } => {
                let moment = match (moment::timestamp(trimmed), moment::date(trimmed), self) {
                    (Some(moment), ..) => moment,
                    (None, Some(days), Self::Timestamp { .. }) => {
                        Moment { micros: i64::from(days) * DAY_MICROS, offset_minutes: None }
                    }
                    _ => return Err(refused(&text)),
                };
                self.typed(dialect, timestamp(moment.micros, moment.offset_minutes.is_some()))?
            }
            Self::Member { of, is_set } => {
                check_members(of, is_set, &text)?;
                SqlValue::Text(text)
            }
            Self::Json { parsed } => self::json(text, parsed)?,
            Self::Affinity { numeric: false, .. } => return self.string(dialect, text),
            Self::Affinity { real, boolean, .. } => affinity(text, real, boolean)?,
            Self::Array { of } if text.starts_with('[') && serde_json::from_str::<IgnoredAny>(&text).is_ok() => {
                list(Self::of(dialect, of), dialect, &text)?
            }
            Self::Array { of } => {
                // `unload` writes an array whose subscripts do not begin at 1 as a JSON string.
                let text = if text.starts_with('"') { string(&text).unwrap_or(text) } else { text };
                literal::check_array(Self::of(dialect, of), &text)?;
                SqlValue::Text(text)
            }
            Self::Literal(literal) => {
                literal.check(&text)?;
                SqlValue::Text(text)
            }
            Self::Any => SqlValue::Text(text),
        })
    }

    fn float(self, trimmed: &str, text: &str) -> Taken {
        if let Some(word) = float_word(trimmed) {
            return Ok(SqlValue::Float(word));
        }
        // A double preserves any 15 significant digits.
        const KEPT_DIGITS: usize = 15;
        let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        if self == Self::Double
            && trimmed.len() <= KEPT_DIGITS
            && trimmed.bytes().all(plain)
            && let Ok(float) = trimmed.parse()
        {
            return Ok(SqlValue::Float(float));
        }
        let digits = Digits::of(trimmed).ok_or_else(|| format!("`{}` is not {}", shown(text), self.singular()))?;
        let float = match self {
            Self::Single => digits.single(trimmed).map(f64::from),
            _ => digits.double(trimmed),
        };
        float.map(SqlValue::Float).ok_or_else(|| too_many_digits(text))
    }

    fn typed(self, dialect: Dialect, value: SqlValue) -> Taken {
        Ok(match (self, value) {
            (_, SqlValue::Null) => SqlValue::Null,
            (Self::Json { parsed }, SqlValue::Text(text) | SqlValue::Json(text)) => self::json(text, parsed)?,
            (_, SqlValue::Text(text)) if text.is_empty() => SqlValue::Text(text),
            (_, SqlValue::Text(text)) => self.string(dialect, text)?,
            (Self::Array { .. }, SqlValue::Json(json)) => match json.trim() {
                json if class(json) == Class::Null && json != "null" => {
                    return Err(format!("`{}` is not {}", shown(json), self.singular()));
                }
                json => self.json(dialect, json.to_owned())?,
            },
            (Self::Literal(_), value @ (SqlValue::Bytes(_) | SqlValue::Json(_))) => return Err(self.refuses(&value)),
            (Self::Literal(_), value) => self.text(dialect, as_text(&value))?,
            (Self::Member { .. }, SqlValue::Integer(integer)) => self.text(dialect, integer.to_string())?,
            (Self::Any, value) => value,
            (Self::Integer { .. } | Self::Affinity { .. }, SqlValue::Boolean(value)) => SqlValue::Boolean(value),
            (Self::Text { .. }, SqlValue::Float(float)) => self.text(dialect, float_text(float))?,
            (Self::Text { .. }, SqlValue::Bytes(bytes)) => SqlValue::Bytes(bytes),
            (Self::Text { .. }, value) => self.text(dialect, as_text(&value))?,
            (Self::Single | Self::Double, SqlValue::Float(float)) => {
                #[allow(clippy::cast_possible_truncation, reason = "compared with the value below")]
                let single = f64::from(float as f32);
                if self == Self::Single && float.is_finite() && single.to_bits() != float.to_bits() {
                    return self.float(&float.to_string(), &float.to_string());
                }
                SqlValue::Float(float)
            }
            (Self::FixedFloat { single: true, .. }, SqlValue::Float(float)) => {
                // The shortest digits of the 32-bit float, not those of the double.
                #[allow(clippy::cast_possible_truncation, reason = "compared with the value below")]
                let single = float as f32;
                let is_single = f64::from(single).to_bits() == float.to_bits();
                self.text(dialect, if is_single { single.to_string() } else { float_text(float) })?
            }
            (Self::FixedFloat { .. }, value @ (SqlValue::Integer(_) | SqlValue::Float(_) | SqlValue::Decimal(_))) => {
                self.number(dialect, &as_text(&value))?
            }
            (Self::Affinity { .. }, value @ (SqlValue::Float(_) | SqlValue::Bytes(_))) => value,
            (Self::Affinity { .. }, SqlValue::Json(text) | SqlValue::Uuid(text)) => self.string(dialect, text)?,
            (Self::Boolean | Self::Integer { .. } | Self::Single | Self::Double | Self::Decimal { .. }, value)
            | (Self::Affinity { .. }, value @ (SqlValue::Integer(_) | SqlValue::Decimal(_))) => match &value {
                SqlValue::Boolean(_) if self == Self::Boolean => value,
                SqlValue::Integer(_) | SqlValue::Float(_) | SqlValue::Decimal(_) => {
                    self.number(dialect, &as_text(&value))?
                }
                _ => return Err(self.refuses(&value)),
            },
            (Self::Bytes { exactly }, SqlValue::Bytes(bytes)) => match exactly {
                Some(length) if length != bytes.len() => {
                    return Err(format!("the value has {} bytes, but the column requires {length}", bytes.len()));
                }
                _ => SqlValue::Bytes(bytes),
            },
            (Self::Date, SqlValue::Date(days)) => {
                has_year(dialect, days, LAST_DATE_YEAR)?;
                SqlValue::Date(days)
            }
            (Self::Date, SqlValue::Timestamp(at)) if at.offset_minutes.is_none() && at.micros % DAY_MICROS == 0 => {
                let days = i32::try_from(at.micros / DAY_MICROS).map_err(|_| "the day is out of range".to_owned())?;
                has_year(dialect, days, LAST_DATE_YEAR)?;
                SqlValue::Date(days)
            }
            (Self::Time { places }, SqlValue::Time(micros)) => {
                if !(0..=DAY_MICROS).contains(&micros) {
                    return Err("the time is not within a day".to_owned());
                }
                has_places(micros, places, &as_text(&SqlValue::Time(micros)))?;
                SqlValue::Time(micros)
            }
            (Self::Timestamp { places }, SqlValue::Date(days)) => {
                Self::Timestamp { places }.typed(dialect, timestamp(i64::from(days) * DAY_MICROS, false))?
            }
            (Self::Timestamp { places } | Self::Instant { places, .. }, SqlValue::Timestamp(at)) => {
                self.has_zone(dialect, at.offset_minutes.is_some())?;
                has_places(at.micros, places, &as_text(&SqlValue::Timestamp(at)))?;
                let days = i32::try_from(at.micros.div_euclid(DAY_MICROS));
                has_year(dialect, days.map_err(|_| "the timestamp is out of range".to_owned())?, LAST_TIMESTAMP_YEAR)?;
                if dialect == Dialect::Mysql
                    && matches!(self, Self::Instant { .. })
                    && !MYSQL_TIMESTAMPS.contains(&at.micros.div_euclid(1_000_000))
                {
                    let text = as_text(&SqlValue::Timestamp(at));
                    return Err(format!("`{text}` is outside of the range of `timestamp`; `datetime(6)` keeps it"));
                }
                timestamp(at.micros, matches!(self, Self::Instant { .. }))
            }
            (Self::Json { .. }, value @ (SqlValue::Integer(_) | SqlValue::Boolean(_))) => value,
            (Self::Json { parsed }, SqlValue::Float(float)) if float.is_finite() => {
                self::json(float_text(float), parsed)?
            }
            // SQLite stores values of any type in any column.
            (_, value) if dialect == Dialect::Sqlite => value,
            (_, value) => return Err(self.refuses(&value)),
        })
    }

    /// Checks that a timestamp has a zone exactly if the PostgreSQL column has one. MySQL's
    /// `datetime` stores timestamps with a zone as UTC, as documented in the book.
    fn has_zone(self, dialect: Dialect, zone: bool) -> std::result::Result<(), String> {
        match (self, zone) {
            (Self::Timestamp { .. }, true) if dialect == Dialect::Postgres => {
                Err("the timestamp has a zone, but the column has none; `timestamptz` keeps it".to_owned())
            }
            (Self::Instant { .. }, false) if dialect == Dialect::Postgres => {
                Err("the timestamp has no zone, but the column requires one; append `Z` or an offset".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn refuses(self, value: &SqlValue) -> String {
        format!("{} is not {}", named(value), self.singular())
    }

    fn singular(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Integer { .. } | Self::Bits { .. } => "an integer",
            Self::Year => "a year",
            Self::Single | Self::Double | Self::Decimal { .. } | Self::FixedFloat { .. } | Self::Affinity { .. } => {
                "a number"
            }
            Self::Text { .. } => "a string",
            Self::Bytes { .. } => "base64-encoded bytes",
            Self::Date => "a date (`YYYY-MM-DD`)",
            Self::Time { .. } => "a time of day (`HH:MM:SS`)",
            Self::Timestamp { .. } => "a timestamp (`YYYY-MM-DDTHH:MM:SS`, at most microseconds)",
            Self::Instant { .. } => "a timestamp with a zone (`YYYY-MM-DDTHH:MM:SSZ`, at most microseconds)",
            Self::Member { .. } => "a member of the column's type",
            Self::Json { .. } => "JSON",
            Self::Array { .. } => "a JSON list or an array",
            Self::Literal(_) | Self::Any => "a value of the column's type",
        }
    }
}

/// Maximum number of dimensions of a PostgreSQL array.
const DIMENSIONS: usize = 6;

/// Converts a JSON list to one whose elements are strings in the server's form, each checked like a
/// single value of the element type.
fn list(element: Want<'_>, dialect: Dialect, json: &str) -> Taken {
    fn elements(want: Want<'_>, dialect: Dialect, json: &str, depth: usize) -> std::result::Result<Value, String> {
        if depth > DIMENSIONS {
            return Err(format!("the list has more than the {DIMENSIONS} dimensions of an array"));
        }
        let values: Vec<Box<RawValue>> = serde_json::from_str(json).map_err(|_| "the list is not valid".to_owned())?;
        let converted = values.iter().map(|value| match (class(value.get()), want) {
            (Class::Null, _) => Ok(Value::Null),
            (Class::Nested, _) if value.get().starts_with('[') => elements(want, dialect, value.get(), depth + 1),
            // The text of a number can have more digits than a number of JSON keeps.
            (Class::Number | Class::Nested, Want::Any) => Ok(Value::String(value.get().to_owned())),
            _ => Ok(Value::String(match want.json(dialect, value.get().to_owned())? {
                SqlValue::Bytes(bytes) => hex(&bytes),
                taken => as_text(&taken),
            })),
        });
        converted.collect::<std::result::Result<Vec<_>, _>>().map(Value::Array)
    }
    Ok(SqlValue::Json(elements(element, dialect, json, 1)?.to_string()))
}

/// Checks whether the type name that `describe-table` returns determines the values that a column
/// accepts. Other types are looked up with `catalog::stored_types`.
pub(crate) fn is_complete(dialect: Dialect, type_name: &str) -> bool {
    match dialect {
        Dialect::Sqlite => true,
        Dialect::Postgres => literal::is_known(type_name),
        Dialect::Mysql => !type_name.to_ascii_lowercase().starts_with("timestamp"),
    }
}

/// Checks that a string is a member of an `enum`, or consists of different members of a `set`.
fn check_members(type_name: &str, is_set: bool, text: &str) -> std::result::Result<(), String> {
    let members = members(type_name);
    let mut given: Vec<&str> = if is_set { text.split(',').collect() } else { vec![text] };
    if is_set && text.is_empty() {
        return Ok(());
    }
    if let Some(other) = given.iter().find(|given| !members.iter().any(|member| member == *given)) {
        let members: Vec<String> = members.iter().take(SHOWN_MEMBERS).map(|member| format!("`{member}`")).collect();
        return Err(format!(
            "`{}` is not a member of the column's type, which has {}",
            shown(other),
            members.join(", ")
        ));
    }
    let length = given.len();
    given.sort_unstable();
    given.dedup();
    if given.len() == length { Ok(()) } else { Err(format!("`{}` has a member twice", shown(text))) }
}

/// Maximum number of members of a type shown in messages.
const SHOWN_MEMBERS: usize = 10;

/// Returns the members in a type name such as `enum('a','it''s')`.
fn members(type_name: &str) -> Vec<String> {
    let strings = tokens(type_name, Syntax::Mysql).filter(|token| token.kind == Kind::String);
    strings.map(|token| member(token.text)).collect()
}

/// Decodes a string literal. The server escapes backslashes and control characters.
fn member(literal: &str) -> String {
    let inner = literal.strip_prefix('\'').unwrap_or(literal);
    let mut characters = inner.strip_suffix('\'').unwrap_or(inner).chars();
    let mut member = String::new();
    while let Some(character) = characters.next() {
        member.push(match character {
            // A quote is doubled.
            '\'' => characters.next().unwrap_or('\''),
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('0') => '\0',
                other => other.unwrap_or('\\'),
            },
            other => other,
        });
    }
    member
}

/// Splits a type name into the name and the numbers in parentheses.
fn parts(name: &str) -> (String, [Option<i64>; 2]) {
    let Some((before, rest)) = name.split_once('(') else { return (name.to_owned(), [None; 2]) };
    let (inside, after) = rest.split_once(')').unwrap_or((rest, ""));
    let mut numbers = inside.split(',').map(|number| number.trim().parse().ok());
    let word = format!("{} {}", before.trim(), after.trim()).trim().to_owned();
    (word, [numbers.next().flatten(), numbers.next().flatten()])
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Parses NaN and the infinities in common spellings.
fn float_word(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "infinity" | "inf" | "+infinity" | "+inf" => Some(f64::INFINITY),
        "-infinity" | "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn decimal(dialect: Dialect, text: &str, precision: Option<i64>, scale: Option<i64>) -> Taken {
    if let Some(word) = float_word(text) {
        return match dialect {
            Dialect::Postgres => Ok(SqlValue::Decimal(float_text(word))),
            _ => Err(format!("`{text}` is not a decimal number")),
        };
    }
    let digits = Digits::of(text).ok_or_else(|| format!("`{}` is not a number", shown(text)))?;
    if let Some(scale) = scale.filter(|scale| !digits.fits_scale(*scale)) {
        return Err(format!("`{}` has more than the {scale} decimal places of the column", shown(text)));
    }
    if let Some(whole) = precision.map(|precision| precision - scale.unwrap_or(0))
        && !digits.is_below_power(whole)
    {
        if whole < 0 {
            return Err(format!("`{}` is not less than the 1e{whole} of the column", shown(text)));
        }
        return Err(format!(
            "`{}` has more than the {whole} digits before the decimal point of the column",
            shown(text)
        ));
    }
    Ok(SqlValue::Decimal(plain(text)))
}

/// Maximum number of digits that a number is expanded to instead of keeping its exponent.
const PLAIN_DIGITS: i64 = 2_000;

/// Returns a number without an exponent, with unchanged precision.
fn plain(text: &str) -> String {
    match Digits::of(text) {
        Some(digits) if text.contains(['e', 'E']) && digits.whole_digits().max(digits.scale()) <= PLAIN_DIGITS => {
            digits.plain()
        }
        _ => text.strip_prefix('+').unwrap_or(text).to_owned(),
    }
}

/// Checks a JSON text for a column that stores parsed values, which have one member per name and no
/// negative zero.
fn json(text: String, parsed: bool) -> Taken {
    if parsed {
        check_nested(&text)?;
        if has_minus_zero(&text) {
            return Err("the column stores `-0` as `0`; a column of type `json` or `text` keeps it".to_owned());
        }
    }
    Ok(SqlValue::Json(text))
}

/// Checks for a negative zero among the numbers of a JSON text.
fn has_minus_zero(json: &str) -> bool {
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    let bytes = json.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            byte if is_of_number(&byte) => {
                let length = bytes[at..].iter().take_while(|byte| is_of_number(byte)).count();
                let number = &bytes[at..at + length];
                let digits = number.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
                if byte == b'-' && digits.iter().all(|byte| matches!(byte, b'-' | b'.' | b'0')) {
                    return true;
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    false
}

/// Converts a string for a SQLite column with numeric affinity.
fn affinity(text: String, real: bool, is_boolean: bool) -> Taken {
    if is_boolean && let Some(boolean) = boolean(&text).filter(|_| !text.bytes().all(|byte| byte.is_ascii_digit())) {
        return Ok(SqlValue::Boolean(boolean));
    }
    if real && let Some(word) = float_word(&text) {
        return Ok(SqlValue::Float(word));
    }
    let Some(digits) = Digits::of(text.trim()) else { return Ok(SqlValue::Text(text)) };
    let double = || digits.double(text.trim()).map(SqlValue::Float).ok_or_else(|| too_many_digits(&text));
    match digits.integer().and_then(|integer| i64::try_from(integer).ok()) {
        Some(integer) if !real => Ok(SqlValue::Integer(integer)),
        _ => double(),
    }
}

/// Converts the value to one that the database can store. Dates, times and exact numbers become
/// strings in SQLite, which has no types for them; ISO 8601 strings sort chronologically. Rejects
/// NaN and the infinities if the database does not support them.
fn storable(dialect: Dialect, value: SqlValue) -> Taken {
    Ok(match value {
        SqlValue::Float(float) if !float.is_finite() && !style::takes_word(dialect, &float_text(float)) => {
            let database = if dialect == Dialect::Sqlite { "SQLite" } else { "MySQL" };
            return Err(format!("{database} does not support `{}`", float_text(float)));
        }
        SqlValue::Date(_)
        | SqlValue::Time(_)
        | SqlValue::Timestamp(_)
        | SqlValue::Uuid(_)
        | SqlValue::Json(_)
        | SqlValue::Decimal(_)
        | SqlValue::Other(_)
            if dialect == Dialect::Sqlite =>
        {
            SqlValue::Text(as_text(&value))
        }
        value => value,
    })
}

/// Formats bytes in the form of PostgreSQL, which an array literal can contain.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Checks for PostgreSQL's `infinity` and `-infinity`.
fn is_endless(dialect: Dialect, text: &str) -> bool {
    dialect == Dialect::Postgres && matches!(text, "infinity" | "-infinity")
}

/// Checks for a MySQL `time` of more than a day: `[-]HHH:MM:SS`.
fn is_interval(text: &str, places: u32) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let Some((hours, rest)) = digits.split_once(':') else { return false };
    let plain = (2..=3).contains(&hours.len()) && hours.bytes().all(|byte| byte.is_ascii_digit());
    let micros = moment::time(&format!("00:{rest}")).filter(|_| rest.len() >= 5);
    plain && micros.is_some_and(|micros| has_places(micros, places, text).is_ok())
}

/// Checks that the fraction of a second fits the precision of the column.
fn has_places(micros: i64, places: u32, text: &str) -> std::result::Result<(), String> {
    if micros % 10_i64.pow(6 - places.min(6)) == 0 {
        return Ok(());
    }
    Err(format!("`{}` has more than the {places} fractional second digits of the column", shown(text)))
}

/// Seconds since 1970 that `timestamp` stores on at least one version of MySQL or MariaDB. Most end
/// in 2038, which the server reports.
const MYSQL_TIMESTAMPS: std::ops::RangeInclusive<i64> = 1..=4_294_967_295;
/// Maximum year of a PostgreSQL date.
const LAST_DATE_YEAR: i64 = 5_874_897;
/// Maximum year of a PostgreSQL timestamp.
const LAST_TIMESTAMP_YEAR: i64 = 294_276;

/// Checks that the database supports the year: 0 to 9999 for MySQL, 4713 BC to `last` for
/// PostgreSQL.
fn has_year(dialect: Dialect, days: i32, last: i64) -> std::result::Result<(), String> {
    let year = moment::year(days);
    let years = match dialect {
        Dialect::Mysql => 0..=9_999,
        Dialect::Postgres => -4_712..=last,
        Dialect::Sqlite => return Ok(()),
    };
    if years.contains(&year) { Ok(()) } else { Err(format!("the database does not support the year {year}")) }
}

fn timestamp(micros: i64, zone: bool) -> SqlValue {
    SqlValue::Timestamp(Timestamp { micros, offset_minutes: zone.then_some(0) })
}

fn too_many_digits(text: &str) -> String {
    format!("`{}` has more digits than a floating-point number keeps", shown(text))
}

fn named(value: &SqlValue) -> String {
    match value {
        SqlValue::Bytes(bytes) => format!("a value of {} bytes", bytes.len()),
        other => format!("`{}`", shown(&as_text(other))),
    }
}

/// Maximum number of characters of a value shown in messages.
const SHOWN_CHARACTERS: usize = 40;

pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS).collect()
}

/// Formats a value as text.
pub(crate) fn as_text(value: &SqlValue) -> String {
    match value {
        SqlValue::Decimal(text)
        | SqlValue::Text(text)
        | SqlValue::Uuid(text)
        | SqlValue::Json(text)
        | SqlValue::Other((_, text)) => text.clone(),
        SqlValue::Float(float) => float_text(*float),
        SqlValue::Date(days) => moment::date_text(i64::from(*days)),
        SqlValue::Time(micros) => moment::time_text(*micros),
        SqlValue::Timestamp(at) => moment::timestamp_text(at.micros, at.offset_minutes.is_some()),
        other => match sql::to_json(other.clone()) {
            Value::String(text) => text,
            json => json.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(dialect: Dialect, type_name: &str, text: &str) -> std::result::Result<String, String> {
        let datum = Datum::Text { text: text.to_owned(), quoted: true };
        Want::of(dialect, type_name).take(dialect, Empty::Quoted, datum).map(|value| as_text(&value))
    }

    #[test]
    fn members_are_named_exactly() {
        assert_eq!(members("enum('a','it''s','b\\\\c','e\\nf','g,h(')"), ["a", "it's", "b\\c", "e\nf", "g,h("]);
        let of = |type_name: &str, text: &str| taken(Dialect::Mysql, type_name, text).is_ok();
        assert!(of("enum('A','10')", "A") && of("enum('A','10')", "10"));
        assert!(!of("enum('A','10')", "a") && !of("enum('A','10')", "1") && !of("enum('A','10')", "A "));
        assert!(of("set('x','y')", "y,x") && of("set('x','y')", "") && of("set('x','y')", "x"));
        assert!(!of("set('x','y')", "3") && !of("set('x','y')", "x,x") && !of("set('x','y')", "x,"));
        assert!(of("timestamp", "1970-01-01T00:00:01Z") && of("datetime", "1960-01-01T00:00:00Z"));
        assert!(!of("timestamp", "1970-01-01T00:00:00Z") && !of("timestamp", "2150-01-01T00:00:00Z"));
        assert!(of("timestamp", "") && !of("timestamp not null", ""));
    }

    #[test]
    fn strings_of_sqlite_stay_strings() {
        let string = |type_name: &str, text: &str| {
            let datum = Datum::Typed(SqlValue::Text(text.to_owned()));
            Want::of(Dialect::Sqlite, type_name).take(Dialect::Sqlite, Empty::Quoted, datum).is_ok()
        };
        let field = |type_name: &str, text: &str| taken(Dialect::Sqlite, type_name, text).is_ok();
        for text in ["00501", "1e5", " +5", "5 ", ".5", "1.10", "-0"] {
            for type_name in ["string", "date", "json", "numeric", "integer", "real"] {
                assert!(!string(type_name, text), "{type_name} {text}");
            }
            assert!(!field("string", text) && string("text", text) && string("", text), "{text}");
        }
        assert!(field("numeric", "00501") && field("integer", "1e5") && field("real", "1.10"));
        for text in ["501", "-5", "2.5", "2013-02-08", "x", "0x10"] {
            assert!(string("string", text) && field("date", text) && string("numeric", text), "{text}");
        }
        assert!(string("real", "1") && string("real", "1.0") && !string("numeric", "1.0"));
    }

    #[test]
    fn numbers_of_mysql_fit_their_columns() {
        let typed = |type_name: &'static str, value: SqlValue| {
            let taken = Want::of(Dialect::Mysql, type_name).take(Dialect::Mysql, Empty::Quoted, Datum::Typed(value));
            taken.map(|value| as_text(&value))
        };
        let single = SqlValue::Float(f64::from(1.05_f32));
        assert_eq!(typed("float(7,2)", single.clone()), Ok("1.05".to_owned()));
        assert!(typed("double(7,2)", single).is_err() && typed("double(7,2)", SqlValue::Float(1.05)).is_ok());
        assert!(taken(Dialect::Mysql, "float(10,2)", "16777217.25").is_err());
        assert!(taken(Dialect::Mysql, "float(7,2)", "99999.99").is_ok());
        let bits = |text: &str| {
            let datum = Datum::Json(text.to_owned());
            Want::of(Dialect::Mysql, "bit(64)").take(Dialect::Mysql, Empty::Quoted, datum)
        };
        assert!(matches!(bits("18446744073709551615"), Ok(SqlValue::Bytes(bytes)) if bytes == [0xff; 8]));
        assert!(matches!(bits("\"9\""), Ok(SqlValue::Integer(9))));
        assert!(bits("18446744073709551616").is_err() && bits("-1").is_err());
        assert!(taken(Dialect::Mysql, "bit(8)", "255").is_ok() && taken(Dialect::Mysql, "bit(8)", "256").is_err());
    }

    #[test]
    fn lists_are_checked_by_their_elements() {
        let typed = |type_name: &'static str, json: &str| {
            let datum = Datum::Typed(SqlValue::Json(json.to_owned()));
            let taken = Want::of(Dialect::Postgres, type_name).take(Dialect::Postgres, Empty::Quoted, datum);
            taken.map(|value| as_text(&value))
        };
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(typed("numeric(5,2)[]", " [1.50, null, [\"2\"]]"), ok("[\"1.50\",null,[\"2\"]]"));
        assert_eq!(typed("bytea[]", "[\"3q0=\"]"), ok("[\"\\\\xdead\"]"));
        assert_eq!(typed("numeric[]", "[12345678901234567890.10]"), ok("[\"12345678901234567890.10\"]"));
        assert_eq!(typed("integer[]", "\"[0:1]={1,2}\""), ok("[0:1]={1,2}"));
        assert_eq!(typed("integer[]", "null"), ok("null"));
        assert_eq!(typed("list\nrange\ndate", "[\"[2013-02-08,)\"]"), ok("[\"[2013-02-08,)\"]"));
        for (type_name, json) in [
            ("real[]", "[16777217]"),
            ("integer[]", "nul"),
            ("integer[]", "7"),
            ("list\nlist\nnumeric(5,2)", "[[1.005]]"),
            ("list\nrange\ndate", "[\"[2013-02-08 11:00:00,)\"]"),
            ("list\nrecord\nnumeric(5,2)", "[\"(1.005)\"]"),
            ("integer[]", "[[[[[[[1]]]]]]]"),
        ] {
            assert!(typed(type_name, json).is_err(), "{type_name} {json}");
        }
    }

    #[test]
    fn parsed_json_has_each_name_once() {
        for json in ["{\"a\":1,\"a\":2}", "[[{\"a\":1,\"a\":2}]]", "-0", "[1,-0.00e5]"] {
            assert!(taken(Dialect::Postgres, "jsonb", json).is_err(), "{json}");
            assert_eq!(taken(Dialect::Postgres, "json", json), Ok(json.to_owned()));
        }
        for json in ["{\"a\":{\"a\":-0.5}}", "[\"-0\",1e-0,-10]", "\"\\\"-0\"", "null"] {
            assert_eq!(taken(Dialect::Postgres, "jsonb", json), Ok(json.to_owned()));
        }
    }
}
