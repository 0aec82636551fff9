//! What goes with every request to a stateboard that asks for a password.

use crate::password::Password;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// The header, as for every bearer of a password.
const HEADER: &str = "authorization";

/// Puts the password on requests, where there is one.
#[derive(Clone)]
pub(super) struct Credentials(Option<MetadataValue<Ascii>>);

impl Credentials {
    pub(super) fn new(password: Option<&Password>) -> Self {
        Self(password.map(|password| {
            let mut value = MetadataValue::try_from(format!("Bearer {}", password.reveal()))
                .expect("a password is printable ASCII");
            // Neither printed nor kept in a table of the connection.
            value.set_sensitive(true);
            value
        }))
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert(HEADER, value.clone());
        }
        Ok(request)
    }
}
