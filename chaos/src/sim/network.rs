//! The lines between the hosts: each direction of each path can be cut, slow, lossy, doubling.

use super::rng::Rng;

/// A microsecond, in nanoseconds.
pub const US: u64 = 1_000;
/// A millisecond.
pub const MS: u64 = 1_000_000;
/// A second.
pub const S: u64 = 1_000_000_000;

/// A network of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// Where the VIP lives: Advertisements.
    Lan,
    /// A heartbeat link: beats, and lease messages between the nodes.
    Link(u8),
    /// To and from a witness.
    Witness,
}

/// How a line treats what is put on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Least delay in nanoseconds.
    pub least: u64,
    /// What may come on top; even.
    pub spread: u64,
    /// Lost, in parts per million.
    pub loss: u32,
    /// Delivered twice, in parts per million.
    pub twice: u32,
}

impl Weather {
    /// A good LAN.
    pub const FAIR: Weather = Weather { least: 50 * US, spread: 250 * US, loss: 0, twice: 0 };
}

#[derive(Debug, Clone, Copy)]
struct Line {
    cut: bool,
    weather: Weather,
}

/// All lines.
#[derive(Debug, Clone)]
pub struct Network {
    hosts: usize,
    links: usize,
    lines: Vec<Line>,
    /// Host reaches the reference addresses.
    references: Vec<bool>,
    /// Clients of the named scenarios, and hosts, that don't reach each other.
    clients: Vec<(usize, usize)>,
}

impl Network {
    /// Nothing is cut.
    pub fn new(hosts: usize, links: usize) -> Self {
        let fair = Line { cut: false, weather: Weather::FAIR };
        let lines = vec![fair; hosts * hosts * (links + 2)];
        Network { hosts, links, lines, references: vec![true; hosts], clients: Vec::new() }
    }

    /// Every path.
    pub fn paths(&self) -> impl Iterator<Item = Path> + use<> {
        let links = (0..self.links).map(|link| Path::Link(u8::try_from(link).unwrap_or(u8::MAX)));
        [Path::Lan, Path::Witness].into_iter().chain(links)
    }

    fn place(&self, from: usize, to: usize, path: Path) -> usize {
        let path = match path {
            Path::Lan => 0,
            Path::Witness => 1,
            Path::Link(link) => 2 + usize::from(link),
        };
        (path * self.hosts + from) * self.hosts + to
    }

    /// Cuts or mends one direction of one path.
    pub fn set_cut(&mut self, from: usize, to: usize, path: Path, cut: bool) {
        let place = self.place(from, to, path);
        if let Some(line) = self.lines.get_mut(place) {
            line.cut = cut;
        }
    }

    /// Changes the weather of one direction of one path.
    pub fn set_weather(&mut self, from: usize, to: usize, path: Path, weather: Weather) {
        let place = self.place(from, to, path);
        if let Some(line) = self.lines.get_mut(place) {
            line.weather = weather;
        }
    }

    /// Whether a host reaches the reference addresses.
    pub fn set_reference(&mut self, host: usize, reaches: bool) {
        if let Some(reference) = self.references.get_mut(host) {
            *reference = reaches;
        }
    }

    /// Whether a host reaches the reference addresses.
    pub fn reaches_reference(&self, host: usize) -> bool {
        self.references.get(host).copied().unwrap_or(false)
    }

    /// Whether nothing gets through in that direction.
    pub fn is_cut(&self, from: usize, to: usize, path: Path) -> bool {
        self.lines.get(self.place(from, to, path)).is_none_or(|line| line.cut)
    }

    /// Cuts or mends a client's path to a host.
    pub fn set_client(&mut self, client: usize, host: usize, cut: bool) {
        self.clients.retain(|pair| *pair != (client, host));
        if cut {
            self.clients.push((client, host));
        }
    }

    /// Whether a client and a host reach each other.
    pub fn reaches_client(&self, client: usize, host: usize) -> bool {
        !self.clients.contains(&(client, host))
    }

    /// All lines whole and fair.
    pub fn heal(&mut self) {
        self.lines.fill(Line { cut: false, weather: Weather::FAIR });
        self.references.fill(true);
        self.clients.clear();
    }

    /// The delays after which what is sent now arrives: none, one or two.
    pub fn send(&self, from: usize, to: usize, path: Path, rng: &mut Rng) -> [Option<u64>; 2] {
        let Some(line) = self.lines.get(self.place(from, to, path)).filter(|line| !line.cut) else {
            return [None, None];
        };
        let weather = line.weather;
        if rng.chance(weather.loss) {
            return [None, None];
        }
        let mut delay = || weather.least + rng.below(weather.spread + 1);
        let first = delay();
        let second = delay();
        [Some(first), rng.chance(weather.twice).then_some(second)]
    }
}
