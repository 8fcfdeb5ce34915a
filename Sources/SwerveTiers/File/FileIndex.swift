/// What a file tier knows of its files without opening them: which there are, how large, in which order they go.
///
/// Bytes are counted when a write begins, so that several at once stay within the capacity. O(log files) an operation.
struct FileIndex {
  struct Entry {
    var name: ShortDigest
    var keyID: ShortDigest
    var byteCount: Int
    var generation: UInt64
    var costPerByte: Double
  }

  let capacityBytes: Int
  /// Bytes of the files, and of those being written.
  private(set) var usedBytes = 0
  private(set) var evictions = 0
  private var table: [ShortDigest: Int32] = [:]
  private var entries: [Entry] = []
  private var free: [Int32] = []
  private var order: EvictionOrder
  /// Files being written.
  private var writing: [ShortDigest: Int] = [:]

  init(capacityBytes: Int, policy: EvictionPolicy) {
    self.capacityBytes = capacityBytes
    order = EvictionOrder(policy: policy)
  }

  var count: Int { table.count }
  var isWriting: Bool { !writing.isEmpty }

  func entry(_ name: ShortDigest) -> Entry? { table[name].map { entries[Int($0)] } }

  func isWriting(_ name: ShortDigest) -> Bool { writing[name] != nil }

  /// The entry, counted as a use.
  mutating func use(_ name: ShortDigest) -> Entry? {
    guard let place = table[name].map({ Int($0) }) else { return nil }
    order.use(place, costPerByte: entries[place].costPerByte, isEvictable: true)
    return entries[place]
  }

  /// A file found at start. The caller adds them from the one that goes first to the one that goes last.
  mutating func add(_ entry: Entry) {
    usedBytes += entry.byteCount
    insert(entry)
  }

  /// Room for a file about to be written; the victims are no longer in the index, and their files are the caller's to
  /// remove. Nil when the file does not fit beside those being written.
  mutating func begin(_ name: ShortDigest, byteCount: Int) -> [ShortDigest]? {
    var pending = byteCount
    for bytes in writing.values { pending += bytes }
    if pending > capacityBytes { return nil }
    usedBytes += byteCount
    writing[name] = byteCount
    return shrink()
  }

  /// The write has ended; nil when it failed.
  mutating func end(_ name: ShortDigest, _ entry: Entry?) {
    guard let byteCount = writing.removeValue(forKey: name) else { return }
    if let entry { insert(entry) } else { usedBytes -= byteCount }
  }

  /// Forgets a file; `generation` guards against one that has been replaced since.
  @discardableResult
  mutating func remove(_ name: ShortDigest, generation: UInt64) -> Bool {
    guard let place = table[name].map({ Int($0) }), entries[place].generation == generation else { return false }
    order.remove(place)
    drop(place)
    return true
  }

  /// Forgets all files that satisfy `condition` and returns their names. O(files)
  mutating func removeAll(where condition: (Entry) -> Bool) -> [ShortDigest] {
    let victims = table.values.filter { condition(entries[Int($0)]) }
    return victims.map { place in
      order.remove(Int(place))
      return drop(Int(place))
    }
  }

  /// Evicts until everything fits; the names of the victims.
  mutating func shrink() -> [ShortDigest] {
    var victims: [ShortDigest] = []
    while usedBytes > capacityBytes, let place = order.removeFirst() {
      evictions += 1
      victims.append(drop(place))
    }
    return victims
  }

  private mutating func insert(_ entry: Entry) {
    let place: Int
    if let reused = free.popLast() {
      place = Int(reused)
      entries[place] = entry
    } else {
      place = entries.count
      entries.append(entry)
    }
    table[entry.name] = Int32(place)
    order.use(place, costPerByte: entry.costPerByte, isEvictable: true)
  }

  @discardableResult
  private mutating func drop(_ place: Int) -> ShortDigest {
    let name = entries[place].name
    usedBytes -= entries[place].byteCount
    table[name] = nil
    free.append(Int32(place))
    return name
  }

  /// What does not add up, or nil. O(files)
  func violation() -> String? {
    let bytes = table.values.reduce(0) { $0 + entries[Int($1)].byteCount } + writing.values.reduce(0, +)
    if bytes != usedBytes { return "\(bytes) bytes in files, \(usedBytes) counted" }
    if usedBytes > capacityBytes { return "\(usedBytes) bytes of \(capacityBytes)" }
    if order.count != table.count { return "\(table.count) files, \(order.count) of them in the order" }
    if table.count + free.count != entries.count {
      return "\(table.count) files and \(free.count) free of \(entries.count)"
    }
    for (name, place) in table where entries[Int(place)].name != name { return "place \(place) has another name" }
    return order.violation()
  }
}
