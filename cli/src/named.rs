//! Options that are settings with names: what there is to choose stands in the help, and any
//! other value is refused with it.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use lockstep_transport::setting::NamedSetting;

/// Reads a setting by its names.
pub fn one_of<T>() -> impl TypedValueParser<Value = T>
where
    T: NamedSetting + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(T::NAMES).try_map(|text| text.parse())
}
