//! Settings with a few named values: one enum each, read from text and written by the same names,
//! in files and on command lines alike.

use core::str::FromStr;

/// A name that a setting does not have. The words name the value in front of those it may have:
/// whoever reads a file adds which key it is and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown value `{found}`, use one of {}", quoted(known))]
pub struct UnknownValue {
    /// What was found.
    pub found: String,
    /// What there is.
    pub known: &'static [&'static str],
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// A setting with a few named values.
pub trait NamedSetting: FromStr<Err = UnknownValue> {
    /// What its values are called, in files and on command lines.
    const NAMES: &'static [&'static str];
}

/// Gives an enum of unit variants its names: `name()`, `Display`, `FromStr`, which fails with
/// [`UnknownValue`], and [`NamedSetting`].
///
/// ```
/// use lockstep_transport::setting::{NamedSetting, UnknownValue};
///
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// enum Shade {
///     Light,
///     Dark,
/// }
///
/// lockstep_transport::named_setting!(Shade {
///     Light => "light",
///     Dark => "dark",
/// });
///
/// assert_eq!("dark".parse(), Ok(Shade::Dark));
/// assert_eq!(Shade::Light.to_string(), "light");
/// let unknown: Result<Shade, UnknownValue> = "grey".parse();
/// assert_eq!(unknown.unwrap_err().known, Shade::NAMES);
/// ```
#[macro_export]
macro_rules! named_setting {
    ($setting:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $crate::setting::NamedSetting for $setting {
            const NAMES: &'static [&'static str] = &[$($name),+];
        }

        impl $setting {
            /// What this value is called.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl ::core::fmt::Display for $setting {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad(self.name())
            }
        }

        impl ::core::str::FromStr for $setting {
            type Err = $crate::setting::UnknownValue;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::setting::UnknownValue {
                        found: text.to_owned(),
                        known: <Self as $crate::setting::NamedSetting>::NAMES,
                    }),
                }
            }
        }
    };
}

/// How a node reaches network and disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoChoice {
    /// The network's is probed at start and what measures best is taken; the disk takes io_uring
    /// if the host allows it.
    #[default]
    Auto,
    /// io_uring. A host that forbids it keeps the node from opening its disk.
    Uring,
    /// Plain system calls; the disk gets a writer thread.
    Syscall,
}

named_setting!(IoChoice {
    Auto => "auto",
    Uring => "uring",
    Syscall => "syscall",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_by_the_names_it_is_written_with() {
        for name in IoChoice::NAMES {
            let choice: IoChoice = name.parse().unwrap();
            assert_eq!(choice.to_string(), *name);
        }
    }

    #[test]
    fn an_unknown_value_is_told_with_those_there_are() {
        let refused = "urring".parse::<IoChoice>().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "unknown value `urring`, use one of `auto`, `uring`, `syscall`"
        );
    }
}
