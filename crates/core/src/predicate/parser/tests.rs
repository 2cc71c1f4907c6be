use super::super::{CompareOp, Literal, Predicate, col};
use crate::ErrorKind;

fn parsed(text: &str) -> Predicate {
    Predicate::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn message(text: &str) -> String {
    let error = Predicate::parse(text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPredicate);
    error.to_string()
}

#[test]
fn precedence() {
    let (a, b, c) = (|| col("a").eq(1), || col("b").eq(2), || col("c").eq(3));
    assert_eq!(parsed("a == 1 or b == 2 and c == 3"), a() | (b() & c()));
    assert_eq!(parsed("(a == 1 or b == 2) and c == 3"), (a() | b()) & c());
    assert_eq!(parsed("not a == 1 and b == 2"), !a() & b());
    assert_eq!(parsed("a = 1 && b = 2 || ! (c = 3)"), (a() & b()) | !c());
    assert_eq!(parsed("a=1&b=2|~c=3"), (a() & b()) | !c());
    assert_eq!(parsed("((a == 1))"), a());
}

#[test]
fn example_of_the_contract() {
    assert_eq!(
        parsed("city == 'Oslo' and fare > 10 or id not in (1,2) and x is not null"),
        (col("city").eq("Oslo") & col("fare").gt(10))
            | (col("id").not_in([1, 2]) & col("x").is_not_null())
    );
}

#[test]
fn spellings() {
    assert_eq!(parsed("A IS NULL AND b Is NoT nOnE"), col("A").is_null() & col("b").is_not_null());
    assert_eq!(parsed("a <> 1"), col("a").ne(1));
    assert_eq!(parsed("a in [1, 2,]"), col("a").is_in([1, 2]));
    assert_eq!(parsed("a in ()"), col("a").is_in(Vec::<i64>::new()));
    assert_eq!(parsed("`a b` == \"x\""), col("a b").eq("x"));
    assert_eq!(parsed("`in` == 1"), col("in").eq(1));
    assert_eq!(parsed("```` == 1"), col("`").eq(1));
    assert_eq!(parsed("3 < a"), col("a").gt(3));
    assert_eq!(parsed("1 <= a < 5"), col("a").ge(1) & col("a").lt(5));
    assert_eq!(parsed("true"), Predicate::Always(true));
    assert_eq!(parsed("true == a"), col("a").eq(true));
    assert_eq!(parsed("é_1 == 1"), col("é_1").eq(1));
    assert_eq!(parsed("a=='x'or b==1"), col("a").eq("x") | col("b").eq(1));
    assert_eq!(parsed("date == 'x' and x in('y')"), col("date").eq("x") & col("x").is_in(["y"]));
}

#[test]
fn literals() {
    for (text, value) in [
        ("-5", Literal::Int(-5)),
        ("1_000", Literal::Int(1000)),
        ("+.5", Literal::Float(0.5)),
        ("1.", Literal::Float(1.0)),
        ("1e3", Literal::Float(1000.0)),
        ("-inf", Literal::Float(f64::NEG_INFINITY)),
        ("NaN", Literal::Float(f64::NAN)),
        ("None", Literal::Null),
        ("TRUE", Literal::Bool(true)),
        ("'it''s'", Literal::from("it's")),
        (r"'it\'s \\ \n \x41 \u00e9 \u{1F600}'", Literal::from("it's \\ \n A é 😀")),
        ("date'2020-01-31'", Literal::Date(18_292)),
        ("date'@-5'", Literal::Date(-5)),
        ("timestamp'1970-01-01'", Literal::Timestamp { nanos: 0, utc: false }),
        ("timestamp'1970-01-01T01:00+01:00'", Literal::Timestamp { nanos: 0, utc: true }),
        ("Decimal'-1.10'", Literal::Decimal { value: -110, scale: 2 }),
        ("decimal'-0.10'", Literal::Decimal { value: -10, scale: 2 }),
        ("decimal'5e2'", Literal::Decimal { value: 5, scale: -2 }),
        ("x'00fF'", Literal::Binary(vec![0, 255])),
    ] {
        let expected = Predicate::Compare { column: "a".into(), op: CompareOp::Eq, value };
        assert_eq!(parsed(&format!("a == {text}")), expected, "{text}");
    }
}

#[test]
fn errors_point_at_the_part() {
    assert_eq!(
        message("city == Oslo and fare > 10"),
        "expected a value; put text in quotes: 'Oslo'\n  city == Oslo and fare > 10\n          ^^^^"
    );
    for (text, says, column) in [
        ("", "a predicate is missing", 0),
        ("a", "a column alone is no condition", 0),
        ("a ==", "a value is missing after `==`", 4),
        ("a == 1 and", "a condition is missing at the end", 10),
        ("a == 1 b == 2", "expected `and`, `or` or the end", 7),
        ("a == 1)", "this closes nothing", 6),
        ("(a == 1", "this parenthesis is not closed", 0),
        ("(a == 1]", "expected `)` here", 7),
        ("a in 5", "expected a list after `in`", 5),
        ("a in (1 2)", "expected `,` or the end of the list", 8),
        ("a in (1, 2", "this list is not closed", 5),
        ("a in (1, 2]", "expected `)` here", 10),
        ("a not 5", "expected `in` after `not`", 6),
        ("a is 5", "expected `null` or `not null`", 5),
        ("a == 'x", "this text is not closed", 5),
        ("a == 'x\\q'", "unknown escape", 7),
        ("`a == 1", "this column name is not closed", 0),
        ("a == b", "put text in quotes: 'b'", 5),
        ("a == `b`", "columns cannot be compared with columns", 5),
        ("'a' == 1", "a column is written plain or in `backticks`", 0),
        ("1 == 2", "expected a column", 5),
        ("'a'", "a text alone is no condition", 0),
        ("5", "a value alone is no condition", 0),
        ("a == 12abc", "this is not a number", 5),
        ("a == 2020-01-01", "expected `and`, `or` or the end", 9),
        ("a == 1e999", "too large for a float", 5),
        ("a == 999999999999999999999999999999999999999999", "this integer is too large", 5),
        ("a == date'2020-13-01'", "this is not a date", 5),
        ("a ? 1", "'?' means nothing here", 2),
        ("in == 1", "found `in`", 0),
        ("a like 'x'", "expected an operator", 2),
    ] {
        let message = message(text);
        assert!(message.contains(says), "{text}: {message}");
        let carets = message.lines().last().unwrap();
        assert_eq!(carets.find('^'), Some(column + 2), "{message}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |depth: usize| format!("{}a == 1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(parsed(&nested(100)), col("a").eq(1));
    assert!(message(&nested(101)).contains("nested deeper than 100 levels"));
    assert!(message(&"(".repeat(1_000_000)).contains("nested deeper"));
    assert!(message(&"not ".repeat(1_000_000)).contains("nested deeper"));
    assert!(message(&" ".repeat((16 << 20) + 1)).contains("may not be longer"));
}

#[test]
fn long_lists_are_read() {
    let numbers: Vec<i64> = (0..10_000).collect();
    let list = col("a").is_in(numbers);
    assert_eq!(parsed(&list.to_string()), list);
}
