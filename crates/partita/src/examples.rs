//! The programs of `examples/`, which are run as tests here: programs of their own would each link
//! the engine.

#[allow(dead_code, reason = "only the example itself has a use for its main function")]
#[path = "../examples/append.rs"]
mod append;
#[allow(dead_code, reason = "only the example itself has a use for its main function")]
#[path = "../examples/arrays.rs"]
mod arrays;
#[allow(dead_code, reason = "only the example itself has a use for its main function")]
#[path = "../examples/custom_store.rs"]
mod custom_store;
#[allow(dead_code, reason = "only the example itself has a use for its main function")]
#[path = "../examples/scan.rs"]
mod scan;

#[tokio::test]
async fn a_scan_reads_what_satisfies_the_condition() {
    let total = scan::run("memory://example-scan/trips").await.unwrap();
    assert!((total - 32.5).abs() < 1e-9, "{total}");
}

#[tokio::test]
async fn an_append_that_is_repeated_happens_once() {
    let url = "memory://example-append/deliveries";
    for _ in 0..2 {
        assert_eq!(append::run(url).await.unwrap(), (5, 2));
    }
}

#[tokio::test]
async fn a_read_of_arrays_finds_one_month() {
    let read = arrays::run("memory://example-arrays/ssh").await.unwrap();
    // February 2024 begins on the 32nd of the sixty days.
    assert_eq!(read, (2, vec![29, 3]));
}

#[tokio::test]
async fn a_store_of_ones_own_carries_out_the_requests() {
    let (rows, reads, writes) = custom_store::run().await.unwrap();
    assert_eq!(rows, 3);
    assert!(reads > 0 && writes > 0, "{reads} {writes}");
}
