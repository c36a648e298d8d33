//! Telephone numbers in E.164.

/// The number with its `+` and country code; `None` where the text is no telephone number
/// that could be called from outside. Numbers of up to seven digits are extensions.
pub(crate) fn e164(text: &str, country: &str) -> Option<String> {
    let international = text.starts_with('+');
    let mut digits = String::with_capacity(16);
    for letter in text.strip_prefix('+').unwrap_or(text).chars() {
        match letter {
            '0'..='9' => digits.push(letter),
            // RFC 3966 §5.1.1: visual separators
            '-' | '.' | '(' | ')' | ' ' => {}
            _ => return None,
        }
    }
    let number = if international {
        digits
    } else if let Some(rest) = digits.strip_prefix("00") {
        rest.to_owned()
    } else if country == "1" {
        match digits.strip_prefix("011") {
            Some(rest) => rest.to_owned(),
            None if digits.len() == 10 => format!("1{digits}"),
            None => digits,
        }
    } else if let Some(national) = digits.strip_prefix('0') {
        format!("{country}{national}")
    } else {
        digits
    };
    // ITU-T E.164 §6.2.1: at most 15 digits.
    (8..=15)
        .contains(&number.len())
        .then(|| format!("+{number}"))
}

#[cfg(test)]
mod tests {
    use super::e164;

    #[test]
    fn numbers_of_north_america_gain_their_country() {
        for text in [
            "+14158675310",
            "14158675310",
            "4158675310",
            "(415) 867-5310",
            "+1-415-867-5310",
        ] {
            assert_eq!(e164(text, "1").as_deref(), Some("+14158675310"), "{text}");
        }
        assert_eq!(
            e164("011442071838750", "1").as_deref(),
            Some("+442071838750")
        );
    }

    #[test]
    fn elsewhere_a_leading_zero_is_the_trunk_prefix() {
        assert_eq!(e164("02071838750", "44").as_deref(), Some("+442071838750"));
        assert_eq!(
            e164("00442071838750", "49").as_deref(),
            Some("+442071838750")
        );
        assert_eq!(e164("442071838750", "44").as_deref(), Some("+442071838750"));
    }

    #[test]
    fn extensions_and_names_are_no_numbers() {
        for text in ["1000", "alice", "", "+", "anonymous", "12345678901234567"] {
            assert_eq!(e164(text, "1"), None, "{text}");
        }
    }
}
