//! Random tables, predicates and texts. Values come from small domains, so that literals often
//! match.

use partita_core::Predicate;
use partita_core::predicate::{CompareOp, DnfValue, Literal};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::oracle::{COLUMNS, Cell, Table};

const DAY: i64 = 86_400;

fn cell(column: &str) -> BoxedStrategy<Cell> {
    let floats = || select(vec![f64::NAN, f64::INFINITY, -0.0, 0.0, 0.1, 0.5, 1.0, -3.0, 1e30]);
    let some = match column {
        "small" => (-128..=127_i128).prop_map(|n| Cell::Exact(n * 1000)).boxed(),
        "large" => prop_oneof![0..10_i128, Just(i128::from(i64::MAX))]
            .prop_map(|n| Cell::Exact(n * 1000))
            .boxed(),
        "cents" => (-300..300_i128).prop_map(|n| Cell::Exact(n * 10)).boxed(),
        "single" => floats().prop_map(|f| Cell::Single(f as f32)).boxed(),
        "float" => floats().prop_map(Cell::Float).boxed(),
        "flag" => any::<bool>().prop_map(Cell::Bool).boxed(),
        "text" => "[ab\u{e9}]{0,3}".prop_map(|s| Cell::Bytes(s.into_bytes())).boxed(),
        "bytes" => vec(0..3_u8, 0..3).prop_map(Cell::Bytes).boxed(),
        "day" => (-4..5_i64).prop_map(|n| Cell::Instant(n * DAY)).boxed(),
        _ => (-4..5_i64).prop_map(|n| Cell::Instant(n * DAY / 4)).boxed(),
    };
    prop_oneof![4 => some, 1 => Just(Cell::Null)].boxed()
}

pub fn table() -> impl Strategy<Value = Table> {
    let row = COLUMNS.iter().map(|name| cell(name)).collect::<Vec<_>>();
    let layouts = vec(0..4_usize, COLUMNS.len());
    let twins = any::<bool>();
    (vec(row, 0..12), layouts, twins).prop_map(|(mut rows, layouts, twins)| {
        if twins {
            rows = rows.into_iter().flat_map(|row| [row.clone(), row]).collect();
        }
        Table { rows, layouts }
    })
}

fn number() -> impl Strategy<Value = Literal> {
    prop_oneof![
        (-130..130_i128).prop_map(Literal::Int),
        (-4..4_i128).prop_map(Literal::Int),
        select(vec![i128::MIN, i128::MAX, 1 << 64, i128::from(i64::MAX)]).prop_map(Literal::Int),
        (-3000..3000_i128).prop_map(|n| Literal::Float(n as f64 / 1000.0)),
        select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.1, 1e30, 1e300, 127.5])
            .prop_map(Literal::Float),
        (-3000..3000_i128, 0..4_i8).prop_map(|(value, scale)| Literal::Decimal { value, scale }),
    ]
}

fn literal(column: &str) -> BoxedStrategy<Literal> {
    let instants = || {
        prop_oneof![
            (-4..5_i32).prop_map(Literal::Date),
            (-400..500_i128)
                .prop_map(|n| Literal::Timestamp { nanos: n * 864_000_000_000, utc: false }),
            select(vec![i128::MIN, i128::MAX, 1, -1])
                .prop_map(|nanos| Literal::Timestamp { nanos, utc: false }),
            (1..8, 0..24, 0..2).prop_map(|(d, h, n)| {
                Literal::String(format!("1970-01-0{d} {h:02}:00:00.{n}"))
            }),
        ]
    };
    match column {
        "flag" => any::<bool>().prop_map(Literal::Bool).boxed(),
        "text" => "[ab\u{e9}]{0,3}".prop_map(Literal::String).boxed(),
        "bytes" => prop_oneof![
            vec(0..3_u8, 0..3).prop_map(Literal::Binary),
            "[\u{0}\u{1}a]{0,2}".prop_map(Literal::String)
        ]
        .boxed(),
        "day" | "naive" => instants().boxed(),
        "zoned" => prop_oneof![
            instants(),
            (-400..500_i128)
                .prop_map(|n| Literal::Timestamp { nanos: n * 864_000_000_000, utc: true }),
        ]
        .boxed(),
        // Beyond the precision of its type, a float is compared by its binary value here and by its
        // decimal form in the oracle, so only whole numbers are generated.
        _ => number().boxed(),
    }
}

pub fn op() -> impl Strategy<Value = CompareOp> {
    use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
    select(vec![Eq, Ne, Lt, Le, Gt, Ge])
}

fn condition() -> impl Strategy<Value = Predicate> {
    select(COLUMNS.to_vec()).prop_flat_map(|name| {
        let column = name.to_owned();
        let (c1, c2, c3, c4) = (column.clone(), column.clone(), column.clone(), column);
        let listed = prop_oneof![9 => literal(name), 1 => Just(Literal::Null)];
        prop_oneof![
            4 => (op(), literal(name))
                .prop_map(move |(op, value)| Predicate::Compare { column: c1.clone(), op, value }),
            3 => (vec(listed, 0..8), any::<bool>()).prop_map(move |(values, negated)| {
                Predicate::In { column: c2.clone(), values, negated }
            }),
            1 => any::<bool>()
                .prop_map(move |negated| Predicate::IsNull { column: c3.clone(), negated }),
            1 => select(vec![CompareOp::Eq, CompareOp::Ne]).prop_map(move |op| {
                Predicate::Compare { column: c4.clone(), op, value: Literal::Null }
            }),
        ]
    })
}

fn tree(leaf: BoxedStrategy<Predicate>, parts: usize) -> impl Strategy<Value = Predicate> {
    leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), parts..4).prop_map(Predicate::And),
            vec(inner.clone(), parts..4).prop_map(Predicate::Or),
            inner.prop_map(|inner| Predicate::Not(Box::new(inner))),
        ]
    })
}

/// Predicates that fit the table.
pub fn predicate() -> impl Strategy<Value = Predicate> {
    let leaf = prop_oneof![
        20 => condition(),
        1 => any::<bool>().prop_map(Predicate::Always)
    ];
    tree(leaf.boxed(), 0)
}

pub fn conjunctions() -> impl Strategy<Value = Vec<Vec<Predicate>>> {
    let term = condition().prop_filter("no term of a list", |condition| {
        !matches!(condition, Predicate::Compare { value: Literal::Null, .. })
    });
    vec(vec(term, 1..4), 1..4)
}

/// The condition as a term of a conjunction.
pub fn term(condition: &Predicate) -> (String, String, DnfValue) {
    match condition {
        Predicate::Compare { column, op, value } => {
            (column.clone(), op.symbol().to_owned(), DnfValue::One(value.clone()))
        }
        Predicate::In { column, values, negated } => {
            let op = if *negated { "not in" } else { "in" };
            (column.clone(), op.to_owned(), DnfValue::List(values.clone()))
        }
        Predicate::IsNull { column, negated } => {
            let op = if *negated { "!=" } else { "==" };
            (column.clone(), op.to_owned(), DnfValue::One(Literal::Null))
        }
        other => panic!("{other}"),
    }
}

fn any_literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        any::<i128>().prop_map(Literal::Int),
        any::<u64>().prop_map(|bits| Literal::Float(f64::from_bits(bits))),
        select(vec![0.0, -0.0, 1e16, 1e-7, 5e-324, f64::MAX, f64::NAN, f64::NEG_INFINITY])
            .prop_map(Literal::Float),
        any::<String>().prop_map(Literal::String),
        ".*['\"\\\\\n\u{0}]".prop_map(Literal::String),
        any::<Vec<u8>>().prop_map(Literal::Binary),
        any::<i32>().prop_map(Literal::Date),
        (-800_000..3_000_000_i32).prop_map(Literal::Date),
        (any::<i128>(), any::<bool>()).prop_map(|(nanos, utc)| Literal::Timestamp { nanos, utc }),
        (any::<i64>(), any::<bool>())
            .prop_map(|(nanos, utc)| Literal::Timestamp { nanos: nanos.into(), utc }),
        (any::<i128>(), any::<i8>()).prop_map(|(value, scale)| Literal::Decimal { value, scale }),
    ]
}

/// Predicates over arbitrary names and values.
pub fn any_predicate() -> impl Strategy<Value = Predicate> {
    let name = || {
        prop_oneof![
            any::<String>(),
            "[a-z_]{1,6}",
            select(vec!["in", "NOT", "Null", "true", "nan", "inf", "date", "x", "", "`", "1a"])
                .prop_map(str::to_owned),
        ]
    };
    let leaf = prop_oneof![
        any::<bool>().prop_map(Predicate::Always),
        (name(), op(), any_literal()).prop_map(|(column, op, value)| Predicate::Compare {
            column,
            op,
            value
        }),
        (name(), vec(any_literal(), 0..4), any::<bool>())
            .prop_map(|(column, values, negated)| Predicate::In { column, values, negated }),
        (name(), any::<bool>()).prop_map(|(column, negated)| Predicate::IsNull { column, negated }),
    ];
    tree(leaf.boxed(), 2)
}

/// Random token sequences that resemble predicates.
pub fn soup() -> impl Strategy<Value = String> {
    let words = vec![
        "a",
        "b",
        "`c d`",
        "==",
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "<>",
        "in",
        "not",
        "is",
        "null",
        "and",
        "or",
        "&",
        "|",
        "!",
        "(",
        ")",
        "[",
        "]",
        ",",
        "1",
        "-2.5",
        "nan",
        "'x'",
        "\"y\"",
        "true",
        "false",
        "date'2020-01-01'",
        "decimal'1.10'",
        "x'00'",
        "timestamp'@5Z'",
        "'",
        "\\",
        "\n",
        "é",
        "-",
        ".",
        "1e",
        "date'",
        "`",
    ];
    prop_oneof![vec(select(words), 0..12).prop_map(|words| words.join(" ")), any::<String>(),]
}
