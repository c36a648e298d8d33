//! Personal data in log lines.

use std::fmt;
use tracing::level_filters::LevelFilter;

/// A number, URI, address or digit of a person: shown where the log takes TRACE, else hidden.
pub struct Redacted<T>(pub T);

impl<T: fmt::Display> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if LevelFilter::current() >= LevelFilter::TRACE {
            self.0.fmt(f)
        } else {
            f.write_str("[redacted]")
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if LevelFilter::current() >= LevelFilter::TRACE {
            self.0.fmt(f)
        } else {
            f.write_str("[redacted]")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::subscriber::with_default;

    #[test]
    fn a_number_is_hidden_unless_the_log_takes_trace() {
        let quiet = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::INFO)
            .finish();
        with_default(quiet, || {
            assert_eq!(Redacted("+15551234").to_string(), "[redacted]")
        });
    }
}
