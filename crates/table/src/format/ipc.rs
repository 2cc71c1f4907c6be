//! Arrow schemas and batches as text in documents.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use partita_core::{Error, Result, guarded};

/// An Arrow schema as an empty IPC stream in base64.
///
/// # Errors
/// Data cannot cause an error; errors of Arrow are passed on.
pub fn encode_schema(schema: &Schema) -> Result<String> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    writer.finish()?;
    Ok(STANDARD.encode(writer.into_inner()?))
}

/// The inverse of [`encode_schema`].
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt).
pub fn decode_schema(text: &str) -> Result<Schema> {
    let damaged = || Error::corrupt("a stored schema cannot be read");
    let bytes = STANDARD.decode(text).map_err(|error| damaged().caused_by(error))?;
    guarded(|| {
        let reader = StreamReader::try_new(bytes.as_slice(), None);
        let reader = reader.map_err(|error| damaged().caused_by(error))?;
        Ok(reader.schema().as_ref().clone())
    })
}

/// A batch as an IPC stream in base64.
///
/// # Errors
/// Data cannot cause an error; errors of Arrow are passed on.
pub fn encode_batch(batch: &RecordBatch) -> Result<String> {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(batch)?;
    writer.finish()?;
    Ok(STANDARD.encode(writer.into_inner()?))
}

/// The inverse of [`encode_batch`].
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt).
pub fn decode_batch(text: &str) -> Result<RecordBatch> {
    let damaged = || Error::corrupt("a stored batch cannot be read");
    let bytes = STANDARD.decode(text).map_err(|error| damaged().caused_by(error))?;
    guarded(|| {
        let reader = StreamReader::try_new(bytes.as_slice(), None);
        let mut reader = reader.map_err(|error| damaged().caused_by(error))?;
        match reader.next() {
            Some(batch) => batch.map_err(|error| damaged().caused_by(error)),
            None => Ok(RecordBatch::new_empty(reader.schema())),
        }
    })
}
