//! Rows as lines of JSON over HTTP: `GET /trips?where=fare > 10`.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{BoxError, Router};
use futures::StreamExt;
use partita::arrow::array::RecordBatch;
use partita::arrow::error::ArrowError;
use partita::arrow::json::LineDelimitedWriter;
use partita::{Error, ErrorKind};
use serde::Deserialize;

use crate::lake::Lake;

pub fn router(lake: Lake) -> Router {
    Router::new().route("/{table}", get(rows)).with_state(lake)
}

#[derive(Deserialize)]
struct Question {
    #[serde(rename = "where")]
    condition: Option<String>,
}

async fn rows(
    State(lake): State<Lake>,
    Path(table): Path<String>,
    Query(question): Query<Question>,
) -> Result<Response, (StatusCode, String)> {
    let scan = lake.scan(&table, question.condition.as_deref()).await.map_err(refusal)?;
    let batches = scan.stream().await.map_err(refusal)?;
    // Batches are sent as they are read, so a large answer takes no more memory than a small one.
    let sent = batches.map(|batch| -> Result<Vec<u8>, BoxError> { Ok(lines(&batch?)?) });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(sent)).into_response())
}

fn lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

/// The status of an error by what the caller can do about it.
fn refusal(error: Error) -> (StatusCode, String) {
    let is_about_column = error.context().iter().any(|(name, _)| *name == "column");
    let status = match error.kind() {
        ErrorKind::InvalidArgument | ErrorKind::InvalidPredicate => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound if is_about_column => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        _ => StatusCode::BAD_GATEWAY,
    };
    (status, error.to_string())
}
