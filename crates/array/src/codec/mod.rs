//! Encoding and decoding of chunks.
//!
//! A [`Pipeline`] is built from the metadata of one array: the compressor and filters of numcodecs
//! in Zarr v2, a chain of codecs in Zarr v3. Compressors and the chains of Zarr v3 are those of the
//! `zarrs` crate. The filters of numcodecs that it lacks are here, one per file, and so is zstd,
//! which both formats use by default and which this implementation decodes directly into the
//! result.

mod bitround;
mod bounded;
mod checksum;
mod compressor;
mod convert;
mod delta;
mod filter;
mod fixed_scale_offset;
mod lz4;
mod numbers;
mod packbits;
mod pipeline;
mod quantize;
mod search;
mod vlen;
mod zstd;

pub(crate) use pipeline::Pipeline;

#[cfg(target_endian = "big")]
compile_error!("items in memory are little-endian; this machine is not");
