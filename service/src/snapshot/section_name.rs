//! The name of a section.

use core::fmt;

/// What the names of a service's sections have before them.
pub const SERVICE_PREFIX: &str = "service/";

/// Bytes of a name at most.
pub const NAME_LENGTH_MAX: usize = 48;

/// A name of 1 to 48 characters, each of `a` to `z`, `0` to `9`, `/`, `_` and `-`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SectionName {
    bytes: [u8; NAME_LENGTH_MAX],
    length: u8,
}

impl SectionName {
    /// The name with this text; `None` where it is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    /// The name `prefix` followed by `text`.
    pub(super) fn with_prefix(prefix: &str, text: &str) -> Option<Self> {
        let mut bytes = [0; NAME_LENGTH_MAX];
        let length = prefix.len() + text.len();
        let (start, rest) = bytes.split_at_mut_checked(prefix.len())?;
        start.copy_from_slice(prefix.as_bytes());
        rest.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        // The prefix alone names nothing.
        (!text.is_empty()).then(|| Self::from_bytes(&bytes[..length]))?
    }

    /// The name with these bytes.
    pub(super) fn from_bytes(text: &[u8]) -> Option<Self> {
        let is_of_name = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'/' | b'_' | b'-');
        if text.is_empty() || text.len() > NAME_LENGTH_MAX || !text.iter().all(is_of_name) {
            return None;
        }
        let mut bytes = [0; NAME_LENGTH_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self {
            bytes,
            length: text.len() as u8,
        })
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = core::str::from_utf8(&self.bytes[..usize::from(self.length)]);
        text.expect("a name is of ASCII characters")
    }
}

impl fmt::Display for SectionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for SectionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_of_few_characters() {
        for text in ["a", "service/book-1_x", &"z".repeat(48)] {
            let name = SectionName::new(text).unwrap();
            assert_eq!(name.as_str(), text);
            assert_eq!(
                (name.to_string(), format!("{name:?}")),
                (text.to_owned(), format!("{text:?}"))
            );
        }
        for text in ["", "A", "a b", "ä", "a.b", "a\0", &"z".repeat(49)] {
            assert_eq!(SectionName::new(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_prefix_alone_is_no_name_and_counts_towards_the_length() {
        let name = SectionName::with_prefix("service/", "book");
        assert_eq!(name, SectionName::new("service/book"));
        for text in ["", "B", &"z".repeat(41), &"z".repeat(60)] {
            assert_eq!(SectionName::with_prefix("service/", text), None, "{text:?}");
        }
        assert_eq!(SectionName::with_prefix(&"p".repeat(49), "x"), None);
    }
}
