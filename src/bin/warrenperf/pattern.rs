//! Names with a number in them: `q-%d`.

/// Where the number goes.
const NUMBER: &str = "%d";

/// The longest name that still fits a short string with its number.
const LONGEST: usize = 240;

/// A name, or several that differ by a number from 1 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// So many names: by themselves a number is appended where it is missing and needed.
    pub(crate) fn names(&self, count: usize) -> Vec<String> {
        (1..=count)
            .map(|number| match self.varies() || count == 1 {
                true => self.name(number),
                false => format!("{}-{number}", self.0),
            })
            .collect()
    }

    /// The name of a number.
    pub(crate) fn name(&self, number: usize) -> String {
        self.0.replace(NUMBER, &number.to_string())
    }

    /// Whether names of different numbers differ.
    pub(crate) fn varies(&self) -> bool {
        self.0.contains(NUMBER)
    }
}

impl std::str::FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("longer than {LONGEST} bytes"));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_where_the_mark_is() {
        let pattern = |text: &str| text.parse::<Pattern>().unwrap();
        assert_eq!(pattern("q-%d.x").names(2), ["q-1.x", "q-2.x"]);
        assert_eq!(pattern("q").names(2), ["q-1", "q-2"]);
        assert_eq!(pattern("q").names(1), ["q"]);
        assert_eq!(pattern("q%d").names(1), ["q1"]);
        assert!("x".repeat(241).parse::<Pattern>().is_err());
    }
}
