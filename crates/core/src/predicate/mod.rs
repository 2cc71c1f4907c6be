//! Predicates: boolean expressions over columns that select rows.
//!
//! A [`Predicate`] can be written as an expression (`col("fare").gt(10)`), as text
//! (`Predicate::parse("fare > 10")`), or as a list of conjunctions ([`Predicate::from_dnf`]).
//! [`Predicate::bind`] checks it against a schema once; the [`BoundPredicate`] then tests rows
//! ([`BoundPredicate::evaluate`]) and prunes whole files and row groups by their statistics
//! ([`BoundPredicate::may_match`]).
//!
//! # Semantics
//!
//! - **Null.** SQL's three-valued logic: a comparison with a null value is neither true nor false,
//!   and only rows where the whole predicate is *true* are selected. The literal null is the
//!   exception, since nobody means SQL's reading of it: `x == null` is `x is null`, `x != null` is
//!   `x is not null`, and `x in (1, null)` is `x == 1 or x is null`.
//! - **NaN** compares as in IEEE 754: false with everything, itself included, save that `!=` is
//!   true. A list of `in` holds it or does not: there it equals itself. Zero has no sign.
//! - **Numbers** compare by value: `id > 2.5` on an integer column is `id >= 3`, and a number
//!   outside the range of the column is simply larger or smaller than all of it. With a column of
//!   floats the literal is rounded to the column's precision first, so that `fare == 0.1` finds
//!   values stored as 0.1. A float compared with a decimal column represents its shortest decimal
//!   form.
//! - **Times.** Text compared with a date, time or timestamp column is read as ISO 8601. A date is
//!   its midnight. In a column with a time zone, text and timestamps without one are taken as UTC;
//!   a literal with a zone does not fit a column without.
//! - **Fields of structs** are named by path, `address.city`, if no column has that name. They are
//!   null where the struct is.
//! - **Lists** are asked for an item: `'blue' in colours`. The result is null where the list is.
//! - **Everything else** that does not fit the type of its column is an
//!   [`InvalidPredicate`](crate::ErrorKind::InvalidPredicate) when the predicate is bound, never a
//!   predicate that matches nothing.

mod bind;
mod caret;
mod condition;
mod display;
mod dnf;
mod evaluate;
mod expression;
mod family;
pub(crate) mod iso8601;
mod kernel;
mod lattice;
mod lexer;
mod literal;
mod nearest;
mod overlap;
mod parser;
mod path;
mod points;
mod prune;
mod set;
mod value;

pub use bind::BoundPredicate;
pub use dnf::DnfValue;
pub use expression::{Column, CompareOp, Predicate, col};
pub use literal::Literal;
pub use prune::{Bounds, Facts};
