//! Lines for the plugin's log. The host adds tenant, plugin, version and call, cuts a line
//! at 4 KiB and drops lines over the plugin's rate. `format!` makes the text where it is
//! not a plain string.

pub use crate::bindings::imports::gatepost::plugin::log::Level;

pub fn write(level: Level, message: &str) {
    super::sys::log::write(level, message);
}

pub fn trace(message: &str) {
    write(Level::Trace, message);
}

pub fn debug(message: &str) {
    write(Level::Debug, message);
}

pub fn info(message: &str) {
    write(Level::Info, message);
}

pub fn warn(message: &str) {
    write(Level::Warn, message);
}

pub fn error(message: &str) {
    write(Level::Error, message);
}

/// A line at the level `info`, with the arguments of `format!`.
///
/// ```
/// gatepost_sdk::info!("no target for {}", 42);
/// ```
#[macro_export]
macro_rules! info {
    ($($arg:tt)+) => { $crate::log::info(&format!($($arg)+)) };
}

/// A line at the level `warn`, with the arguments of `format!`.
#[macro_export]
macro_rules! warn {
    ($($arg:tt)+) => { $crate::log::warn(&format!($($arg)+)) };
}

/// A line at the level `error`, with the arguments of `format!`.
#[macro_export]
macro_rules! error {
    ($($arg:tt)+) => { $crate::log::error(&format!($($arg)+)) };
}

/// A line at the level `debug`, with the arguments of `format!`.
#[macro_export]
macro_rules! debug {
    ($($arg:tt)+) => { $crate::log::debug(&format!($($arg)+)) };
}
