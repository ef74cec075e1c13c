//! Lines for the operator's log, marked with the plugin's name by the host.
//!
//! ```
//! tidelock_sdk::info!("looked at {} files", 3);
//! ```

/// How loud a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the plugin's author.
    Debug,
    /// For a curious operator.
    Info,
    /// For every operator.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line. The macros [`debug!`](crate::debug), [`info!`](crate::info),
/// [`warn!`](crate::warn) and [`error!`](crate::error) are shorter.
pub fn write(level: Level, message: &str) {
    crate::host::log(level, message);
}

/// Writes a line for the plugin's author.
#[macro_export]
macro_rules! debug {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($text)*)) };
}

/// Writes a line for a curious operator.
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($text)*)) };
}

/// Writes a line for every operator.
#[macro_export]
macro_rules! warn {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($text)*)) };
}

/// Writes a line that says that something failed.
#[macro_export]
macro_rules! error {
    ($($text:tt)*) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($text)*)) };
}
