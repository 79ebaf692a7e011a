//! The PROXY protocol, version 1 and 2: who a client is that comes through a proxy.
//!
//! Owns reading exactly the header and no octet more, as what follows belongs to TLS or AMQP. Its
//! grammar is the crate `ppp`'s.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Octets of the longest header of version 1, its line end included (specification, 2.1).
const V1_MAX: usize = 107;
/// Octets before the addresses of version 2.
const V2_HEAD: usize = 16;
/// The most octets of addresses and extensions that are read. Real proxies send some hundred.
const V2_REST_MAX: usize = 4096;

/// Source and destination of the connection to the proxy.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// Reads the header. None if the proxy speaks for itself (a health check), or does not say whom for.
///
/// # Errors
/// What the socket says; `InvalidData` if it is no such header.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Ends>> {
    let mut header = vec![0; v2::PROTOCOL_PREFIX.len()];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        version_2(stream, header).await
    } else if header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        version_1(stream, header).await
    } else {
        Err(invalid("no PROXY header"))
    }
}

async fn version_2(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> io::Result<Option<Ends>> {
    let begun = header.len();
    header.resize(V2_HEAD, 0);
    let fresh = header.get_mut(begun..).unwrap_or_default();
    stream.read_exact(fresh).await?;
    let rest = match header.last_chunk() {
        Some(&len) => usize::from(u16::from_be_bytes(len)),
        None => 0,
    };
    if rest > V2_REST_MAX {
        return Err(invalid("PROXY header too long"));
    }
    header.resize(V2_HEAD + rest, 0);
    let fresh = header.get_mut(V2_HEAD..).unwrap_or_default();
    stream.read_exact(fresh).await?;
    let parsed = v2::Header::try_from(header.as_slice()).map_err(invalid)?;
    Ok(match (parsed.command, parsed.addresses) {
        (v2::Command::Local, _) => None,
        (_, v2::Addresses::IPv4(ip)) => Some((
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        (_, v2::Addresses::IPv6(ip)) => Some((
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    })
}

/// Its end is a line end, so it is read octet by octet: once a connection, at most 107 of them.
async fn version_1(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> io::Result<Option<Ends>> {
    while !header.ends_with(b"\n") {
        if header.len() == V1_MAX {
            return Err(invalid("PROXY header too long"));
        }
        header.push(stream.read_u8().await?);
    }
    let parsed = v1::Header::try_from(header.as_slice()).map_err(invalid)?;
    Ok(match parsed.addresses {
        v1::Addresses::Tcp4(ip) => Some((
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        v1::Addresses::Tcp6(ip) => Some((
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        )),
        v1::Addresses::Unknown => None,
    })
}

fn invalid(reason: impl ToString) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a header says, and what is left behind it.
    fn parse(octets: &[u8]) -> (Result<Option<Ends>, ErrorKind>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut stream = octets;
        let read = runtime.block_on(read(&mut stream));
        (read.map_err(|e| e.kind()), stream.to_vec())
    }

    fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = v2::PROTOCOL_PREFIX.to_vec();
        header.extend([0x20 | command, family]);
        header.extend((addresses.len() as u16).to_be_bytes());
        header.extend(addresses);
        header
    }

    fn ends(source: &str, destination: &str) -> Result<Option<Ends>, ErrorKind> {
        Ok(Some((
            source.parse().unwrap(),
            destination.parse().unwrap(),
        )))
    }

    const V4: [u8; 12] = [10, 1, 2, 3, 192, 168, 0, 1, 0x9C, 0x40, 0x16, 0x28];

    #[test]
    fn a1_20_both_versions_and_not_an_octet_more() {
        let expected = ends("10.1.2.3:40000", "192.168.0.1:5672");
        let line = b"PROXY TCP4 10.1.2.3 192.168.0.1 40000 5672\r\nAMQP";
        assert_eq!(parse(line), (expected, b"AMQP".to_vec()));
        let mut binary = version_2(1, 0x11, &V4);
        binary.extend(b"AMQP");
        assert_eq!(parse(&binary), (expected, b"AMQP".to_vec()));
        let line = b"PROXY TCP6 ::2 ::1 40000 5672\r\n";
        assert_eq!(parse(line).0, ends("[::2]:40000", "[::1]:5672"));
    }

    #[test]
    fn who_says_nothing_of_a_client_is_taken_for_itself() {
        assert_eq!(
            parse(b"PROXY UNKNOWN\r\nAMQP"),
            (Ok(None), b"AMQP".to_vec())
        );
        assert_eq!(parse(b"PROXY UNKNOWN ::1 ::1 1 2\r\n").0, Ok(None));
        assert_eq!(parse(&version_2(0, 0, &[])).0, Ok(None));
        assert_eq!(parse(&version_2(0, 0x11, &V4)).0, Ok(None));
        // With an extension behind the addresses.
        let more = [&V4[..], &[0x04, 0, 1, 0]].concat();
        assert!(matches!(parse(&version_2(1, 0x11, &more)).0, Ok(Some(_))));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let invalid = Err(ErrorKind::InvalidData);
        let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
        let huge = [v2::PROTOCOL_PREFIX, &[0x21, 0x11, 0xFF, 0xFF]].concat();
        for octets in [
            &b"AMQP\0\0\x09\x01AMQP"[..],
            b"PROXY TCP4 10.1.2.3 192.168.0.1 40000\r\n",
            b"PROXY TCP4 10.1.2.3 192.168.0.1 40000 99999\r\n",
            b"PROXY TCP4 10.1.2.3 192.168.0.1 1 2\n",
            &endless,
            &huge,
            &version_2(2, 0x11, &V4),
            &version_2(1, 0x11, &V4[..5]),
        ] {
            assert_eq!(parse(octets).0, invalid, "{octets:?}");
        }
        let cut = Err(ErrorKind::UnexpectedEof);
        for octets in [
            &b"PROXY"[..],
            b"PROXY TCP4 10.1",
            &version_2(1, 0x11, &V4)[..20],
        ] {
            assert_eq!(parse(octets).0, cut, "{octets:?}");
        }
    }
}
