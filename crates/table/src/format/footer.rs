//! Reading Parquet footers from a store.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, MetadataFetch};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{
    ColumnChunkMask, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader,
};
use partita_core::{Error, ErrorKind, Result, Store, guarded_async};
use partita_parquet::{
    PageLimits, TAIL, check_footer, check_places, decode_old, footer_length, is_old,
};

use super::digests::{ChunkDigests, FileDigests, gaps};
use super::schema::readable_schema;

/// Bytes fetched from the end of a file whose footer length is unknown.
const GUESS: u64 = 64 << 10;
/// Bytes fetched together with a footer, which hold the page index of most files: it lies before the
/// footer, and its length is not known beforehand.
const PAGE_INDEX: u64 = 64 << 10;

/// A Parquet object whose byte ranges the decoder reads from the store.
#[derive(Debug, Clone)]
pub struct ParquetObject {
    store: Store,
    key: Arc<str>,
    bytes: u64,
    footer: Option<u64>,
    /// The number of bytes to fetch before the footer, and with it.
    before_footer: u64,
    /// What was fetched before it is asked for: places in the file, and their content.
    ahead: Vec<(Range<u64>, Bytes)>,
    /// The committed digests, where reads compare them.
    digests: Option<FileDigests>,
    /// The digests of the column chunks, once the footer was read.
    chunks: Option<Arc<ChunkDigests>>,
    /// The limits of pages, once the footer was read.
    pages: Option<Arc<PageLimits>>,
}

impl ParquetObject {
    /// Opens the object `key`; its size is requested from the store if it is not known.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the object is missing, since the dataset names it.
    pub async fn open(
        store: &Store,
        key: &str,
        bytes: Option<u64>,
        footer: Option<u64>,
    ) -> Result<Self> {
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => store.head(key).await?.ok_or_else(|| missing(key))?.size,
        };
        Ok(Self {
            store: store.clone(),
            key: key.into(),
            bytes,
            footer,
            before_footer: 0,
            ahead: Vec::new(),
            digests: None,
            chunks: None,
            pages: None,
        })
    }

    /// The same object, of which the page index is fetched in the request for the footer, as far as
    /// it is short. Of local files it is not: a request costs them little.
    #[must_use]
    pub fn with_index_ahead(self) -> Self {
        let before_footer = if self.store.is_local() { 0 } else { PAGE_INDEX };
        Self { before_footer, ..self }
    }

    /// Fetches byte ranges at once, from which later reads are served.
    ///
    /// # Errors
    /// As [`ParquetObject::ranges`]; [`Corrupt`](ErrorKind::Corrupt) if the object is missing.
    pub async fn fetch_ahead(&mut self, ranges: Vec<Range<u64>>) -> Result<()> {
        let unknown: Vec<Range<u64>> =
            ranges.into_iter().filter(|range| self.known(range).is_none()).collect();
        let fetches = unknown.iter().map(|range| self.store.get_range(&self.key, range.clone()));
        let fetched = try_join_all(fetches).await;
        let fetched = fetched.map_err(|error| unreadable(&self.key, external(error)))?;
        self.ahead.extend(unknown.into_iter().zip(fetched));
        Ok(())
    }

    /// The bytes of a range that was fetched before.
    fn known(&self, range: &Range<u64>) -> Option<Bytes> {
        self.ahead.iter().find_map(|(place, bytes)| within(place.start, bytes, range))
    }

    /// The same object, of which footer and whole column chunks are compared with what was committed,
    /// if that is known, and unless the store was opened without checksums.
    #[must_use]
    pub fn committed_as(self, digests: Option<FileDigests>) -> Self {
        Self { digests: digests.filter(|_| self.store.compares_digests()), ..self }
    }

    /// The size of the object.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the footer, with the page index if there is one and `pages` is set.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the object is not a Parquet file.
    pub async fn metadata(&mut self, pages: bool) -> Result<ArrowReaderMetadata> {
        let policy = if pages { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
        let options = ArrowReaderOptions::new().with_page_index_policy(policy);
        let key = Arc::clone(&self.key);
        let size = self.bytes;
        guarded_async(async {
            let loaded = match ArrowReaderMetadata::load_async(&mut *self, options).await {
                Err(error) if is_old(&error) => self.old_metadata().await,
                loaded => loaded,
            };
            let metadata = loaded.map_err(|error| unreadable(&key, error))?;
            check_places(metadata.metadata(), size)?;
            self.chunks = self.digests.and_then(|_| ChunkDigests::of(metadata.metadata()));
            self.pages = Some(Arc::new(PageLimits::of(metadata.metadata())));
            readable(metadata).map_err(|error| unreadable(&key, error))
        })
        .await
        .map_err(|error| named(error, &key))
    }

    /// The metadata of a file whose footer the decoder rejects.
    async fn old_metadata(&self) -> ParquetResult<ArrowReaderMetadata> {
        let metadata = decode_old(&self.checked_end(self.hint()).await?.footer)?;
        ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
    }

    /// The number of bytes at the end of the object that probably hold its footer.
    fn hint(&self) -> u64 {
        let footer = self.footer.map_or(GUESS, |footer| footer.saturating_add(TAIL as u64));
        footer.saturating_add(self.before_footer).min(self.bytes)
    }

    /// The metadata with the page index of some column chunks; one request where the file has one.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the page index cannot be read.
    pub async fn with_page_index(
        &mut self,
        metadata: &ArrowReaderMetadata,
        row_groups: &[usize],
        columns: &[usize],
    ) -> Result<ArrowReaderMetadata> {
        let key = Arc::clone(&self.key);
        let mask = ColumnChunkMask::row_groups_and_columns(
            row_groups.iter().copied(),
            columns.iter().copied(),
        );
        let loaded = async {
            let mut reader =
                ParquetMetaDataReader::new_with_metadata(metadata.metadata().as_ref().clone())
                    .with_page_index_policy(PageIndexPolicy::Optional)
                    .with_page_index_mask(mask);
            reader.load_page_index(&mut *self).await?;
            let metadata = Arc::new(reader.finish()?);
            readable(ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new())?)
        };
        guarded_async(async { loaded.await.map_err(|error| unreadable(&key, error)) })
            .await
            .map_err(|error| named(error, &key))
    }

    /// Reads several byte ranges of the object.
    ///
    /// # Errors
    /// As [`Store::get_ranges`](partita_core::Store::get_ranges).
    pub async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store.get_ranges(&self.key, ranges).await
    }

    /// Compares what is neither footer nor column chunk with what was committed, if that is known.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it differs; as [`ParquetObject::ranges`].
    pub async fn check_rest(&self, metadata: &ParquetMetaData) -> Result<()> {
        let Some(digests) = &self.digests else { return Ok(()) };
        let tail = self.bytes.saturating_sub(TAIL as u64)..self.bytes;
        let length = footer_length(&self.store.get_range(&self.key, tail.clone()).await?)?;
        let gaps = gaps(metadata, tail.start.saturating_sub(length));
        let pieces = self.ranges(&gaps).await?;
        digests.check_rest(pieces.iter().map(Bytes::as_ref)).map_err(|e| named(e, &self.key))
    }

    async fn fetch_range(&self, range: Range<u64>) -> ParquetResult<Bytes> {
        if range.start > range.end || range.end > self.bytes {
            return Err(ParquetError::General("a byte range lies outside the file".into()));
        }
        let bytes = match self.known(&range) {
            Some(bytes) => bytes,
            None => self.store.get_range(&self.key, range.clone()).await.map_err(external)?,
        };
        self.check(&range, &bytes)?;
        Ok(bytes)
    }

    /// Refuses a column chunk that is not what was committed, and pages that are too large.
    fn check(&self, place: &Range<u64>, bytes: &[u8]) -> ParquetResult<()> {
        let committed = self.chunks.as_ref().map_or(Ok(()), |chunks| chunks.check(place, bytes));
        let limited = || self.pages.as_ref().map_or(Ok(()), |pages| pages.check(place, bytes));
        committed.and_then(|()| limited()).map_err(external)
    }
}

impl MetadataFetch for ParquetObject {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.fetch_range(range).boxed()
    }
}

impl AsyncFileReader for ParquetObject {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.fetch_range(range).boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            if ranges.iter().any(|range| range.start > range.end || range.end > self.bytes) {
                return Err(ParquetError::General("a byte range lies outside the file".into()));
            }
            let known: Vec<Option<Bytes>> = ranges.iter().map(|range| self.known(range)).collect();
            let unknown: Vec<Range<u64>> = ranges
                .iter()
                .zip(&known)
                .filter(|(_, known)| known.is_none())
                .map(|(range, _)| range.clone())
                .collect();
            let fetched = self.store.get_ranges(&self.key, &unknown).await.map_err(external)?;
            let mut fetched = fetched.into_iter();
            let all: Vec<Bytes> =
                known.into_iter().filter_map(|known| known.or_else(|| fetched.next())).collect();
            for (range, bytes) in ranges.iter().zip(&all) {
                self.check(range, bytes)?;
            }
            Ok(all)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let size = self.bytes;
            let end = self.checked_end(self.hint()).await?;
            let fetched = (end.start..size, end.bytes.clone());
            let reader = ParquetMetaDataReader::new()
                .with_arrow_reader_options(options)
                .with_prefetch_hint(Some(end.bytes.len()));
            let metadata = Arc::new(reader.load_and_finish(end, size).await?);
            if self.before_footer > 0 {
                self.ahead.push(fetched);
            }
            Ok(metadata)
        }
        .boxed()
    }
}

/// The metadata of a file with Arrow types in which the decoder can decode every value.
///
/// # Errors
/// The decoder's, if the file cannot be read.
pub fn readable(metadata: ArrowReaderMetadata) -> ParquetResult<ArrowReaderMetadata> {
    match readable_schema(metadata.schema()) {
        Some(schema) => ArrowReaderMetadata::try_new(
            Arc::clone(metadata.metadata()),
            ArrowReaderOptions::new().with_schema(schema),
        ),
        None => Ok(metadata),
    }
}

/// The end of an object with a validated footer. Earlier bytes are fetched on demand.
struct End<'a> {
    object: &'a ParquetObject,
    start: u64,
    bytes: Bytes,
    footer: Bytes,
}

impl MetadataFetch for End<'_> {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        match within(self.start, &self.bytes, &range) {
            Some(bytes) => std::future::ready(Ok(bytes)).boxed(),
            None => self.object.fetch_range(range).boxed(),
        }
    }
}

impl ParquetObject {
    /// The last bytes of the object: so many, or more if the footer is longer. One request, or two
    /// then.
    async fn checked_end(&self, hint: u64) -> ParquetResult<End<'_>> {
        let start = self.bytes - hint.min(self.bytes);
        let bytes = self.fetch_range(start..self.bytes).await?;
        let tail = bytes.len().checked_sub(TAIL).and_then(|from| bytes.get(from..));
        let length = footer_length(tail.unwrap_or_default()).map_err(external)?;
        let outside = || ParquetError::General("the footer is longer than the file".into());
        let from = self.bytes.checked_sub(length + TAIL as u64).ok_or_else(outside)?;
        let (start, bytes) = match from < start {
            true => {
                let before = self.fetch_range(from..start).await?;
                (from, Bytes::from([before, bytes].concat()))
            }
            false => (start, bytes),
        };
        let first = usize::try_from(from - start).map_err(|_| outside())?;
        if let Some(digests) = &self.digests {
            digests.check_footer(&bytes.slice(first..)).map_err(external)?;
        }
        let footer = bytes.slice(first..bytes.len() - TAIL);
        check_footer(&footer).map_err(external)?;
        Ok(End { object: self, start, bytes, footer })
    }
}

/// The part of the bytes, which begin at `start`, that lies in a range; none if they lack some of it.
fn within(start: u64, bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let from = usize::try_from(range.start.checked_sub(start)?).ok()?;
    let to = usize::try_from(range.end.checked_sub(start)?).ok()?;
    (from <= to && to <= bytes.len()).then(|| bytes.slice(from..to))
}

fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// The error for a data file that the dataset names but the store lacks.
#[must_use]
pub fn missing(key: &str) -> Error {
    Error::corrupt(
        "a file that the dataset names is not in the store; those of older versions may have been \
         collected as garbage",
    )
    .with("key", key)
}

/// Converts a decoder's error; an error of the store that it wraps is returned unchanged.
#[must_use]
pub fn unreadable(key: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) if error.kind() == ErrorKind::NotFound => missing(key),
            Ok(error) => *error,
            Err(inner) => {
                Error::corrupt("a Parquet file cannot be read").with("key", key).caused_by(inner)
            }
        },
        error => Error::corrupt("a Parquet file cannot be read").with("key", key).caused_by(error),
    }
}

/// Adds the object's key to an error that lacks one.
#[must_use]
pub fn named(error: Error, key: &str) -> Error {
    match error.context().iter().any(|(name, _)| *name == "key") {
        true => error,
        false => error.with("key", key),
    }
}

/// The length of the footer of a Parquet file in memory, read from its last eight bytes.
#[must_use]
pub fn length_of(file: &[u8]) -> Option<u64> {
    let tail = file.get(file.len().checked_sub(8)?..)?;
    let length: [u8; 4] = tail.get(..4)?.try_into().ok()?;
    Some(u64::from(u32::from_le_bytes(length)))
}
