//! The paths of partitions: `year=2022/month=01`, `cycle=7`.

use std::sync::Arc;

use super::{Key, Partitioning};

/// The minimum number of digits of the year in a path. Other fields of a date have two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digits {
    /// Two digits, for the Zarr v2 layout.
    Two,
    /// Four digits, for the Zarr v3 layout.
    Four,
}

impl Partitioning {
    /// The path of a partition: `year=2022/month=01` for dates, padded with zeros; `cycle=-7` for
    /// sequences, without padding.
    #[must_use]
    pub fn path(&self, key: &Key, digits: Digits) -> String {
        let component = |(field, value): (&str, i128)| {
            let width = match (self, field, digits) {
                (Self::Date { .. }, "year", Digits::Four) => 4,
                (Self::Date { .. }, _, _) => 2,
                _ => 0,
            };
            // The sign counts as a digit, as it does in Python's format.
            format!("{field}={value:0width$}")
        };
        key.pairs().map(component).collect::<Vec<_>>().join("/")
    }

    /// Parses a key from a path; none if it is not the path of a partition, because fields differ
    /// or values are not decimal integers.
    #[must_use]
    pub fn parse(&self, path: &str) -> Option<Key> {
        parse_as(&self.key_fields(), path)
    }

    pub(crate) fn key_fields(&self) -> Arc<[String]> {
        self.fields().into_iter().map(str::to_owned).collect()
    }
}

/// Like [`Partitioning::parse`], for many paths of a partitioning with these fields.
pub(crate) fn parse_as(fields: &Arc<[String]>, path: &str) -> Option<Key> {
    let mut components = path.split('/');
    let mut values = Vec::with_capacity(fields.len());
    for field in fields.iter() {
        values.push(parse_component(components.next()?, field)?);
    }
    components.next().is_none().then(|| Key::new(Arc::clone(fields), values))
}

/// The value in a component of a path, if it is that of the field.
pub(crate) fn parse_component(component: &str, field: &str) -> Option<i128> {
    parse_value(component.strip_prefix(field)?.strip_prefix('=')?)
}

fn parse_value(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if decimal { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use partita_core::partition::Resolution;
    use proptest::prelude::*;

    use super::*;

    fn key(partitioning: &Partitioning, values: &[i128]) -> Key {
        Key::new(partitioning.key_fields(), values.to_vec())
    }

    #[test]
    fn paths_of_both_layouts() {
        let date = Partitioning::date("time", Resolution::Month);
        assert_eq!(date.path(&key(&date, &[2022, 1]), Digits::Two), "year=2022/month=01");
        assert_eq!(date.path(&key(&date, &[99, 12]), Digits::Two), "year=99/month=12");
        assert_eq!(date.path(&key(&date, &[99, 12]), Digits::Four), "year=0099/month=12");
        assert_eq!(date.path(&key(&date, &[-5, 1]), Digits::Four), "year=-005/month=01");
        let sequence = Partitioning::sequence(&["cycle", "pass"]);
        assert_eq!(sequence.path(&key(&sequence, &[-5, 7]), Digits::Four), "cycle=-5/pass=7");
    }

    #[test]
    fn other_paths_are_no_partitions() {
        let date = Partitioning::date("time", Resolution::Month);
        for path in [
            "",
            "year=2022",
            "year=2022/month=01/day=01",
            "month=01/year=2022",
            "year=x/month=1",
            "year=2022/month=",
            "year=2022/month=1.5",
            "year=2022/month=+1",
            "year=2022/month=--1",
            "xyear=2022/month=1",
            "year=2022 /month=1",
        ] {
            assert_eq!(date.parse(path), None, "{path}");
        }
        let fields = date.key_fields();
        let value = |name, depth: usize| parse_component(name, &fields[depth]);
        assert_eq!((value("year=2022", 0), value("year=2022", 1)), (Some(2022), None));
        assert_eq!((value("_catalog", 0), value("month=-1", 1)), (None, Some(-1)));
    }

    proptest! {
        #[test]
        fn paths_come_back(a in any::<i64>(), b in any::<u64>(), four in any::<bool>()) {
            let digits = if four { Digits::Four } else { Digits::Two };
            for partitioning in [
                Partitioning::sequence(&["a", "b"]),
                Partitioning::date("time", Resolution::Month),
            ] {
                let key = key(&partitioning, &[a.into(), b.into()]);
                prop_assert_eq!(partitioning.parse(&partitioning.path(&key, digits)), Some(key));
            }
        }
    }
}
