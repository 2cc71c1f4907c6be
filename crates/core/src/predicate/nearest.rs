//! Suggestions for misspelt names.

use arrow::datatypes::Schema;

/// The maximum number of columns listed in a message.
const LISTED: usize = 20;

/// Advice for a column that is not in the schema: the most similar name, or all names.
pub(crate) fn advice(name: &str, schema: &Schema) -> String {
    let nearest = schema
        .fields()
        .iter()
        .map(|field| (distance(name, field.name()), field.name()))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        None => "there are no columns".to_owned(),
        Some((distance, nearest)) if distance <= 1 + name.chars().count() / 4 => {
            format!("did you mean `{nearest}`?")
        }
        Some(_) => {
            let names: Vec<&str> =
                schema.fields().iter().take(LISTED).map(|field| field.name().as_str()).collect();
            let more = schema.fields().len() - names.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("the columns are {}{more}", names.join(", "))
        }
    }
}

/// The edit distance: the number of characters to exchange, insert or delete, ignoring case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (to, above) in b.iter().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field};

    #[test]
    fn distances() {
        assert_eq!(distance("fare", "fare"), 0);
        assert_eq!(distance("Fare", "fares"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }

    #[test]
    fn near_names_are_offered_and_others_listed() {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Schema::new(vec![field("city"), field("fare")]);
        assert_eq!(advice("elsewhere", &schema), "the columns are city, fare");
        assert_eq!(advice("cty", &schema), "did you mean `city`?");
        assert_eq!(advice("FARE", &schema), "did you mean `fare`?");
        assert_eq!(advice("x", &Schema::empty()), "there are no columns");
    }
}
