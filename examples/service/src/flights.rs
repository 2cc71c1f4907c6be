//! Rows as record batches over Arrow Flight. A ticket is the name of a table, or that and a
//! condition: `trips where fare > 10`.

use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use partita::{Error, ErrorKind};
use tonic::{Request, Response, Status, Streaming};

use crate::lake::Lake;

/// The service, of which only `do_get` is there.
pub struct Flights {
    lake: Lake,
}

impl Flights {
    pub fn new(lake: Lake) -> Self {
        Self { lake }
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl FlightService for Flights {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    async fn do_get(&self, request: Request<Ticket>) -> Answer<Self::DoGetStream> {
        let ticket = String::from_utf8(request.into_inner().ticket.to_vec())
            .map_err(|_| Status::invalid_argument("a ticket is text: trips where fare > 10"))?;
        let (table, condition) = match ticket.split_once(" where ") {
            Some((table, condition)) => (table, Some(condition)),
            None => (ticket.as_str(), None),
        };
        let scan = self.lake.scan(table, condition).await.map_err(status)?;
        let schema = scan.schema().map_err(status)?;
        let batches = scan.stream().await.map_err(status)?;
        let batches = batches.map_err(|error| FlightError::from(status(error)));
        let encoder = FlightDataEncoderBuilder::new().with_schema(schema);
        Ok(Response::new(encoder.build(batches).map_err(Status::from).boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Answer<Self::HandshakeStream> {
        Err(only_get())
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Answer<Self::ListFlightsStream> {
        Err(only_get())
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<FlightInfo> {
        Err(only_get())
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Answer<PollInfo> {
        Err(only_get())
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Answer<SchemaResult> {
        Err(only_get())
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Answer<Self::DoPutStream> {
        Err(only_get())
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Answer<Self::DoExchangeStream> {
        Err(only_get())
    }

    async fn do_action(&self, _: Request<Action>) -> Answer<Self::DoActionStream> {
        Err(only_get())
    }

    async fn list_actions(&self, _: Request<Empty>) -> Answer<Self::ListActionsStream> {
        Err(only_get())
    }
}

fn only_get() -> Status {
    Status::unimplemented("this service answers do_get alone")
}

fn status(error: Error) -> Status {
    match error.kind() {
        ErrorKind::NotFound => Status::not_found(error.to_string()),
        ErrorKind::InvalidArgument | ErrorKind::InvalidPredicate => {
            Status::invalid_argument(error.to_string())
        }
        _ => Status::unavailable(error.to_string()),
    }
}
