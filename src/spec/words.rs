//! Enums whose values flags, files and prose name by one word each.

use clap::ValueEnum;

/// Declares such an enum: each value with what it means and its word. The word is what serde writes, what `FromStr`
/// and the command line read, and what `Display` shows; the meaning is what `--help` says of it.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $( #[doc = $meaning:literal] $(#[$value_meta:meta])* $value:ident = $word:literal, )+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        $vis enum $name {
            $( #[doc = $meaning] $(#[$value_meta])* #[serde(rename = $word)] $value, )+
        }

        impl clap::ValueEnum for $name {
            fn value_variants<'a>() -> &'a [Self] {
                Self::ALL
            }

            fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
                let meaning = match self { $( $name::$value => $meaning, )+ };
                let meaning = meaning.trim().trim_end_matches('.');
                Some(clap::builder::PossibleValue::new(self.as_str()).help(meaning))
            }
        }

        impl $name {
            /// Every value, in the order in which they are declared.
            pub const ALL: &'static [Self] = &[$( $name::$value, )+];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self { $( $name::$value => $word, )+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                $crate::spec::words::read(text)
            }
        }
    };
}
pub(crate) use words;

/// Finds the value that a word names.
///
/// # Errors
/// No value has this word; the text lists those there are.
pub fn read<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| {
        let known = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let known: Vec<String> = known.map(|value| value.get_name().to_owned()).collect();
        format!("expected one of {}", known.join(", "))
    })
}
