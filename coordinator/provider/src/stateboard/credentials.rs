//! What goes with every request to a stateboard that asks for a password.

use crate::files::Followed;
use crate::password::Password;
use std::sync::Arc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// The header, as for every bearer of a password.
const HEADER: &str = "authorization";

/// Puts the password on requests, where there is one. Clones share it.
#[derive(Clone)]
pub(super) struct Credentials(Option<Arc<Followed<Password>>>);

impl Credentials {
    pub(super) fn new(password: Option<&Password>) -> Result<Self, String> {
        Ok(Self(password.map(Password::follow).transpose()?.map(Arc::new)))
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(password) = &self.0 {
            let shown = format!("Bearer {}", password.current().reveal());
            let mut value = MetadataValue::<Ascii>::try_from(shown)
                .map_err(|_| Status::internal("the password is no header"))?;
            // Neither printed nor kept in a table of the connection.
            value.set_sensitive(true);
            request.metadata_mut().insert(HEADER, value);
        }
        Ok(request)
    }
}
