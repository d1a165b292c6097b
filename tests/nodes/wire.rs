//! A wire between two addresses, which a test can cut; and the front address of several nodes.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a node may take to answer before the front address asks another one.
const PATIENCE: Duration = Duration::from_millis(500);

/// A wire to an address.
pub struct Wire {
    /// Where to connect instead of there.
    pub address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    pub fn to(server: SocketAddr, address: SocketAddr) -> Wire {
        let is_cut = Arc::new(AtomicBool::new(false));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (cut, all) = (Arc::clone(&is_cut), Arc::clone(&open));
        let address = serve(address, move |stream| {
            if cut.load(Ordering::SeqCst) {
                return;
            }
            let Ok(other) = TcpStream::connect(server) else { return };
            for end in [&stream, &other] {
                all.lock().unwrap().push(end.try_clone().unwrap());
            }
            join(&stream, &other);
        });
        Wire { address, is_cut, open }
    }

    /// Ends all connections, and takes no new one.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

/// One address for several nodes, as a load balancer has it: each connection goes to the next node that takes it.
pub fn front(at: IpAddr, nodes: Vec<SocketAddr>) -> SocketAddr {
    let mut next = 0;
    serve(SocketAddr::new(at, 0), move |stream| {
        for _ in 0..nodes.len() {
            next += 1;
            if let Ok(node) = TcpStream::connect_timeout(&nodes[next % nodes.len()], PATIENCE) {
                return join(&stream, &node);
            }
        }
    })
}

/// Hands every connection to an address to `take`.
fn serve(address: SocketAddr, mut take: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(&mut take));
    address
}

/// Sends on what each of two ends sends, until either ends.
fn join(one: &TcpStream, other: &TcpStream) {
    for (from, to) in [(one, other), (other, one)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let _ = from.set_nodelay(true);
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
}
