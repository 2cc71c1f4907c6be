//! A service that gives rows of tables to programs without Partita: as lines of JSON over HTTP, and
//! as record batches over Arrow Flight.
//!
//! `cargo run --manifest-path examples/service/Cargo.toml -- lake` serves the tables in `lake`, which
//! may be a directory or a bucket:
//!
//! ```text
//! curl 'http://127.0.0.1:8080/trips?where=fare%20%3E%2010'
//!
//! from pyarrow import flight
//! client = flight.connect("grpc://127.0.0.1:50051")
//! client.do_get(flight.Ticket("trips where fare > 10")).read_all()
//! ```

mod flights;
mod lake;
mod web;

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::BoxError;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::flights::Flights;
use crate::lake::Lake;

/// Answers on both sockets, until one of them fails.
async fn serve(lake: Lake, http: TcpListener, flight: TcpListener) -> Result<(), BoxError> {
    let flights = FlightServiceServer::new(Flights::new(lake.clone()));
    let incoming = TcpListenerStream::new(flight);
    let over_http = async { axum::serve(http, web::router(lake)).await.map_err(BoxError::from) };
    let over_flight = async {
        let server = Server::builder().add_service(flights);
        server.serve_with_incoming(incoming).await.map_err(BoxError::from)
    };
    tokio::try_join!(over_http, over_flight).map(|_| ())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = std::env::args().nth(1).ok_or("name the directory or the bucket of the tables")?;
    let http = TcpListener::bind("127.0.0.1:8080").await?;
    let flight = TcpListener::bind("127.0.0.1:50051").await?;
    println!("http://{} and grpc://{}", http.local_addr()?, flight.local_addr()?);
    serve(Lake::new(url), http, flight).await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use arrow_flight::error::FlightError;
    use arrow_flight::{FlightClient, Ticket};
    use futures::TryStreamExt;
    use partita::arrow::array::{
        ArrayRef, Float64Array, RecordBatch, RecordBatchIterator, StringArray,
    };
    use partita::{CreateOptions, StoreOptions, Table};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tonic::Code;
    use tonic::transport::Endpoint;

    use super::*;

    async fn make_trips(url: &str) {
        let cities: ArrayRef = Arc::new(StringArray::from(vec!["Oslo", "Rome", "Lima"]));
        let fares: ArrayRef = Arc::new(Float64Array::from(vec![12.5, 9.0, 30.0]));
        let trips = RecordBatch::try_from_iter([("city", cities), ("fare", fares)]).unwrap();
        let schema = trips.schema();
        let data = Box::new(RecordBatchIterator::new([Ok(trips)], schema));
        let options = CreateOptions::default();
        Table::create_from(url, data, &options, &StoreOptions::new()).await.unwrap();
    }

    /// The answer to a GET request, with its head.
    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn flight(address: SocketAddr, ticket: &str) -> Result<usize, Code> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let mut client = FlightClient::new(endpoint.connect().await.unwrap());
        let code = |error: FlightError| match error {
            FlightError::Tonic(status) => status.code(),
            other => panic!("{other}"),
        };
        let rows = client.do_get(Ticket::new(ticket.to_owned())).await.map_err(code)?;
        let batches: Vec<RecordBatch> = rows.try_collect().await.map_err(code)?;
        Ok(batches.iter().map(RecordBatch::num_rows).sum())
    }

    #[tokio::test]
    async fn rows_come_over_http_and_over_flight() {
        make_trips("memory://service/trips").await;
        let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (http, grpc_address) = (web.local_addr().unwrap(), grpc.local_addr().unwrap());
        tokio::spawn(serve(Lake::new("memory://service".to_owned()), web, grpc));

        let found = get(http, "/trips?where=fare%20%3E%2010").await;
        assert!(found.starts_with("HTTP/1.1 200"), "{found}");
        assert!(found.contains(r#"{"city":"Oslo","fare":12.5}"#), "{found}");
        assert!(!found.contains("Rome"), "{found}");
        for (path, status) in [
            ("/absent", 404),
            ("/..%2Ftrips", 400),
            ("/trips?where=fare%20%3E", 400),
            ("/trips?where=toll%20%3E%201", 400),
        ] {
            let refused = get(http, path).await;
            assert!(refused.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {refused}");
        }

        assert_eq!(flight(grpc_address, "trips where fare > 10").await, Ok(2));
        assert_eq!(flight(grpc_address, "trips").await, Ok(3));
        assert_eq!(flight(grpc_address, "absent").await, Err(Code::NotFound));
        assert_eq!(flight(grpc_address, "trips where fare >").await, Err(Code::InvalidArgument));
    }
}
