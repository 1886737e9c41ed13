//! The services that the binary carries, by the names that options and files have for them.

use core::fmt;
use core::str::FromStr;

use lockstep_consensus::node::launch::NodeService;
use lockstep_consensus::settings::config::{ClusterConfig, ConfigError};
use lockstep_consensus::settings::node_file::ServiceKey;
use lockstep_consensus::settings::quantity;
use lockstep_service::samples::big_state::BigState;
use lockstep_service::samples::echo::Echo;
use lockstep_service::samples::order_book::reports::REPORT_MESSAGE_LENGTH_MAX;
use lockstep_service::samples::order_book::{BookLimits, OrderBook};
use lockstep_transport::setting::{NamedSetting, UnknownValue};

const ECHO: &str = "echo";
const ORDER_BOOK: &str = "orderbook";
const BIG_STATE: &str = "bigstate";

/// How the last is said, where all are named.
const BIG_STATE_FORM: &str = "bigstate:<size>";

/// The service under test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceChoice {
    /// Answers each message with the same bytes.
    #[default]
    Echo,
    /// The matching engine.
    OrderBook,
    /// Answers from a state of so many bytes; said as `bigstate:64m`.
    BigState(u64),
}

impl NamedSetting for ServiceChoice {
    const NAMES: &'static [&'static str] = &[ECHO, ORDER_BOOK, BIG_STATE_FORM];
}

impl FromStr for ServiceChoice {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        let size = text.strip_prefix(BIG_STATE);
        let size = size.and_then(|rest| rest.strip_prefix(':'));
        match (text, size.map(quantity::size)) {
            (ECHO, _) => Ok(Self::Echo),
            (ORDER_BOOK, _) => Ok(Self::OrderBook),
            (_, Some(Ok(size))) => Ok(Self::BigState(size)),
            _ => Err(UnknownValue {
                found: text.to_owned(),
                known: Self::NAMES,
            }),
        }
    }
}

impl fmt::Display for ServiceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Echo | Self::OrderBook => f.pad(self.name()),
            Self::BigState(size) => write!(f, "{BIG_STATE}:{size}"),
        }
    }
}

impl ServiceKey for ServiceChoice {
    fn key(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn validate(&self, cluster: &ClusterConfig) -> Result<(), ConfigError> {
        if *self != Self::OrderBook {
            return Ok(());
        }
        let limits = BookLimits::default();
        let (effects, messages) = (cluster.effects_per_cause, limits.messages_max());
        let (bytes, needed) = (cluster.effect_bytes_per_cause, limits.message_bytes_max());
        for (key, has, needs) in [
            ("effects_per_cause", effects as usize, messages as usize),
            ("effect_bytes_per_cause", bytes, needed),
            (
                "message_max",
                cluster.message_max,
                REPORT_MESSAGE_LENGTH_MAX,
            ),
        ] {
            if has < needs {
                return Err(ConfigError {
                    key,
                    problem: format!("{has}, and the service orderbook needs {needs}"),
                    remedy: "raise it, or leave it at its default",
                });
            }
        }
        Ok(())
    }
}

impl ServiceChoice {
    /// What it is called, whatever its size.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Echo => ECHO,
            Self::OrderBook => ORDER_BOOK,
            Self::BigState(_) => BIG_STATE,
        }
    }

    /// A fresh instance.
    #[must_use]
    pub fn create(self) -> NodeService {
        match self {
            Self::Echo => Box::new(Echo::new()),
            Self::OrderBook => Box::new(OrderBook::default()),
            Self::BigState(size) => {
                Box::new(BigState::new(usize::try_from(size).unwrap_or(usize::MAX)))
            }
        }
    }

    /// Bytes of state that were asked for.
    #[must_use]
    pub(super) const fn state_bytes(self) -> u64 {
        match self {
            Self::Echo | Self::OrderBook => 0,
            Self::BigState(size) => size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_could_not_carry_the_answers_of_its_service_is_refused() {
        let cluster = ClusterConfig::default();
        let book = ServiceChoice::OrderBook;
        assert_eq!(book.validate(&cluster), Ok(()));
        let small = ClusterConfig {
            effects_per_cause: 31,
            ..cluster.clone()
        };
        let error = book.validate(&small).unwrap_err().to_string();
        assert!(error.contains("effects_per_cause: 31"), "{error}");
        assert!(error.contains("raise it"), "{error}");
        assert_eq!(ServiceChoice::Echo.validate(&small), Ok(()));
        let short = ClusterConfig {
            message_max: 1_024,
            ..cluster
        };
        assert_eq!(book.validate(&short).unwrap_err().key, "message_max");
    }

    #[test]
    fn a_file_says_each_of_them_so_that_it_is_read_back() {
        let big = ServiceChoice::BigState(1 << 30);
        for choice in [ServiceChoice::Echo, ServiceChoice::OrderBook, big] {
            assert_eq!(choice.key().unwrap().parse(), Ok(choice));
        }
        assert_eq!("bigstate:1g".parse(), Ok(big));
        for unknown in ["", "bigstate", "bigstate:", "bigstate:much", "echo:1g"] {
            let error = unknown.parse::<ServiceChoice>().unwrap_err();
            let words = error.to_string();
            let form = "use one of `echo`, `orderbook`, `bigstate:<size>`";
            assert!(words.ends_with(form), "{unknown}: {words}");
        }
    }
}
