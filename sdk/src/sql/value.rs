//! Values of parameters and rows, and Rust types that they are read as.

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// Yes or no.
    Boolean(bool),
    /// Any integer, and PostgreSQL's oid.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// Text, names, `json`, and enumerations.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list of texts. Only PostgreSQL has them.
    Texts(Vec<String>),
    /// Any other type, as the server writes it.
    Other {
        /// The server's name of the type: `aclitem`, `timestamptz`.
        type_name: String,
        /// The value.
        text: String,
    },
}

impl Value {
    /// What it is, for an error.
    fn sort(&self) -> &str {
        match self {
            Self::Null => "no value",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes",
            Self::Texts(_) => "a list of texts",
            Self::Other { type_name, .. } => type_name,
        }
    }
}

macro_rules! from {
    ($($from:ty => $value:ident => $into:expr),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        }
    )*};
}
from! {
    bool => value => Self::Boolean(value),
    i64 => value => Self::Integer(value),
    i32 => value => Self::Integer(value.into()),
    u32 => value => Self::Integer(value.into()),
    f64 => value => Self::Float(value),
    &str => value => Self::Text(value.to_owned()),
    &String => value => Self::Text(value.clone()),
    String => value => Self::Text(value),
    Vec<String> => value => Self::Texts(value),
    &[String] => value => Self::Texts(value.to_vec()),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// What a value of a row can be read as.
pub trait FromValue: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What it is instead, as the end of a sentence.
    fn from_value(value: &Value) -> Result<Self, String>;
}

fn misfit<T>(wanted: &str, value: &Value) -> Result<T, String> {
    Err(format!("is {}, not {wanted}", value.sort()))
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Boolean(value) => Ok(*value),
            // What MariaDB has for booleans.
            Value::Integer(value @ (0 | 1)) => Ok(*value == 1),
            other => misfit("a boolean", other),
        }
    }
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl FromValue for $integer {
            fn from_value(value: &Value) -> Result<Self, String> {
                match value {
                    Value::Integer(value) => {
                        Self::try_from(*value).map_err(|_| format!("is {value}, which does not fit"))
                    }
                    Value::Other { text, .. } => text.parse().or_else(|_| misfit("an integer", value)),
                    other => misfit("an integer", other),
                }
            }
        }
    )*};
}
integers!(i64, i32, u32, u64, usize);

impl FromValue for f64 {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Float(value) => Ok(*value),
            Value::Other { text, .. } => text.parse().or_else(|_| misfit("a number", value)),
            other => misfit("a number", other),
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) | Value::Other { text, .. } => Ok(text.clone()),
            other => misfit("a text", other),
        }
    }
}

impl FromValue for Vec<String> {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Texts(texts) => Ok(texts.clone()),
            other => misfit("a list of texts", other),
        }
    }
}

/// A `json` column.
impl FromValue for serde_json::Value {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) | Value::Other { text, .. } => {
                serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
            }
            other => misfit("JSON", other),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}
