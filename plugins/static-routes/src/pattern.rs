//! A regular expression, or the plain text that it stands for: most rules are prefixes or
//! whole numbers, and compiling an expression would cost more than all the rest.

use crate::template::Captures;
use regex_lite::Regex;

pub(crate) enum Pattern {
    Compiled {
        regex: Box<Regex>,
        head: String,
    },
    Plain {
        text: String,
        from_start: bool,
        to_end: bool,
    },
}

impl Pattern {
    pub(crate) fn new(expression: &str) -> Result<Pattern, String> {
        let (from_start, rest) = match expression.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, expression),
        };
        let (text, rest) = literal(rest);
        match rest {
            "" => Ok(Pattern::Plain {
                text,
                from_start,
                to_end: false,
            }),
            "$" => Ok(Pattern::Plain {
                text,
                from_start,
                to_end: true,
            }),
            _ => {
                let regex = Regex::new(expression).map_err(|error| error.to_string())?;
                let head = if from_start { text } else { String::new() };
                Ok(Pattern::Compiled {
                    regex: Box::new(regex),
                    head,
                })
            }
        }
    }

    /// Whether it matches somewhere in `value`; groups that `captures` does not have yet
    /// are added.
    pub(crate) fn find(&self, value: &str, captures: &mut Captures) -> bool {
        match self {
            Pattern::Plain {
                text,
                from_start,
                to_end,
            } => match (from_start, to_end) {
                (false, false) => value.contains(text.as_str()),
                (false, true) => value.ends_with(text.as_str()),
                (true, false) => value.starts_with(text.as_str()),
                (true, true) => value == text,
            },
            Pattern::Compiled { regex, .. } => {
                let Some(found) = regex.captures(value) else {
                    return false;
                };
                for (index, name) in regex.capture_names().enumerate().skip(1) {
                    let text = found.get(index).map_or("", |group| group.as_str());
                    captures.add(index, name, text);
                }
                true
            }
        }
    }

    /// How many characters of the literal head `value` begins with: the nearer, the more.
    pub(crate) fn agreeing(&self, value: &str) -> usize {
        let head = match self {
            Pattern::Compiled { head, .. } => head,
            Pattern::Plain { text, .. } => text,
        };
        head.chars()
            .zip(value.chars())
            .take_while(|(a, b)| a == b)
            .count()
    }
}

/// The longest literal text that an expression begins with, and what follows.
fn literal(expression: &str) -> (String, &str) {
    let mut text = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let (letter, after) = if first == '\\' {
            match rest[1..].chars().next() {
                // Escaped punctuation is itself; `\d` and its like are classes.
                Some(escaped) if escaped.is_ascii_punctuation() => {
                    (escaped, &rest[1 + escaped.len_utf8()..])
                }
                _ => break,
            }
        } else if r"^$.[](){}*+?|".contains(first) {
            break;
        } else {
            (first, &rest[first.len_utf8()..])
        };
        if after.starts_with(['*', '+', '?', '{']) {
            break;
        }
        text.push(letter);
        rest = after;
    }
    // In `abc|d` the literal is one of two: nothing is certain.
    if rest.contains('|') {
        return (
            String::new(),
            if rest.is_empty() { rest } else { expression },
        );
    }
    (text, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(expression: &str, value: &str) -> bool {
        Pattern::new(expression)
            .unwrap()
            .find(value, &mut Captures::default())
    }

    #[test]
    fn plain_text_is_matched_as_its_expression_would_be() {
        for expression in [
            "12", "^12", "12$", "^12$", r"^\+1", r"\.", "", "^", "$", "^$",
        ] {
            let pattern = Pattern::new(expression).unwrap();
            assert!(
                matches!(pattern, Pattern::Plain { .. }),
                "{expression} needs no compiling"
            );
            let regex = Regex::new(expression).unwrap();
            for value in ["", "12", "123", "012", "0123", "+1555", "a.b", "21"] {
                assert_eq!(
                    pattern.find(value, &mut Captures::default()),
                    regex.is_match(value),
                    "{expression} on {value}"
                );
            }
        }
    }

    #[test]
    fn everything_else_is_compiled() {
        for expression in [
            r"^\d+$", "^1?2", "12|34", "^(12)", "1.2", "^12{3}$", "a$b", r"^1\b",
        ] {
            assert!(
                matches!(Pattern::new(expression).unwrap(), Pattern::Compiled { .. }),
                "{expression}"
            );
        }
        assert!(found("12|34", "034"));
        assert!(found("^12{3}$", "1222"));
        assert!(!found("^12{3}$", "12"));
    }

    #[test]
    fn the_head_tells_how_near_a_miss_was() {
        let pattern = Pattern::new(r"^1555\d{4}$").unwrap();
        assert_eq!(pattern.agreeing("15561234"), 3);
        assert_eq!(pattern.agreeing("2"), 0);
    }
}
