/// What is known, as records and out of them.
extension Journal {
  static func entries(_ records: [JournalRecord]) -> [JournalKey: Entry] {
    var entries: [JournalKey: Entry] = [:]
    for record in records {
      switch record {
      case .begins(let begin): entries[begin.key] = Entry(begin: begin, time: begin.time)
      case .event(let key, let event, let time):
        entries[key]?.events.append(event)
        entries[key]?.time = time
      case .ends(let key): entries[key]?.isFinished = true
      }
    }
    return entries
  }

  static func records(_ entries: [JournalKey: Entry]) -> [JournalRecord] {
    var records: [JournalRecord] = []
    for (key, entry) in entries {
      var begin = entry.begin
      begin.time = entry.time
      records.append(.begins(begin))
      for event in entry.events { records.append(.event(key: key, event, time: entry.time)) }
      if entry.isFinished { records.append(.ends(key: key)) }
    }
    return records
  }

  /// Forgets what is old, and of what is finished all but the latest.
  static func expire(_ entries: inout [JournalKey: Entry], before time: Int) {
    for (key, entry) in entries where entry.run == nil && entry.time < time { entries[key] = nil }
    let finished = entries.filter { $0.value.isFinished }
    guard finished.count > mostFinished else { return }
    for (key, _) in finished.sorted(by: { $0.value.time < $1.value.time }).prefix(finished.count - mostFinished) {
      entries[key] = nil
    }
  }
}
