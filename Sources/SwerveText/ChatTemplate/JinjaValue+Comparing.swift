// Equality, order and membership as Python has them.
extension JinjaValue {
  func isEqual(to other: JinjaValue) -> Bool {
    switch (self, other) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.text(let a), .text(let b)): return a == b
    case (.int(let a), .int(let b)): return a == b
    case (.bool(let a), .bool(let b)): return a == b
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
      return a === b || (a.items.count == b.items.count && zip(a.items, b.items).allSatisfy { $0.isEqual(to: $1) })
    case (.dict(let a), .dict(let b)):
      if a === b { return true }
      guard a.count == b.count else { return false }
      for place in 0..<a.count {
        // Keys were hashable when they went in.
        guard let found = try? b.value(for: a.keys[place]), found.isEqual(to: a.values[place]) else { return false }
      }
      return true
    case (.object(let a), .object(let b)):
      if let a = a as? JinjaRange, let b = b as? JinjaRange {
        return a.length == b.length && (a.length == 0 || a.start == b.start && (a.length == 1 || a.step == b.step))
      }
      if let a = a as? JinjaBytes, let b = b as? JinjaBytes { return a.bytes == b.bytes }
      return a === b
    case (.double(let a), .int(let b)), (.int(let b), .double(let a)): return a == Double(b) && Int(exactly: a) == b
    default:
      guard let a = asDouble, let b = other.asDouble else { return false }
      return a == b
    }
  }

  /// -1, 0 or 1. Throws Python's TypeError where the two have no order; `symbol` is the operator for its message.
  /// Comparisons with not-a-number answer nil.
  func order(_ other: JinjaValue, symbol: String) throws(TemplateError) -> Int? {
    switch (self, other) {
    case (.undefined(let undefined), _), (_, .undefined(let undefined)): throw undefined.error
    case (.text(let a), .text(let b)):
      return a == b ? 0 : a.bytes.lexicographicallyPrecedes(b.bytes) ? -1 : 1
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
      for (x, y) in zip(a.items, b.items) where !x.isEqual(to: y) { return try x.order(y, symbol: symbol) }
      return a.items.count == b.items.count ? 0 : a.items.count < b.items.count ? -1 : 1
    default:
      if let a = asInt, let b = other.asInt { return a == b ? 0 : a < b ? -1 : 1 }
      guard let a = asDouble, let b = other.asDouble else {
        throw .typeError("'\(symbol)' not supported between instances of '\(typeName)' and '\(other.typeName)'")
      }
      return a.isNaN || b.isNaN ? nil : a == b ? 0 : a < b ? -1 : 1
    }
  }

  /// `needle in self`.
  func contains(_ needle: JinjaValue) throws(TemplateError) -> Bool {
    switch self {
    case .undefined: return false
    case .text(let text):
      guard case .text(let part) = needle else {
        throw .typeError("'in <string>' requires string as left operand, not \(needle.typeName)")
      }
      return text.contains(part)
    case .list(let list), .tuple(let list): return list.items.contains { $0.isEqual(to: needle) }
    case .dict(let dict): return try dict.value(for: needle) != nil
    case .object(let range as JinjaRange):
      if let number = needle.asInt { return range.index(of: number) != nil }
      if let number = needle.asDouble, let whole = Int(exactly: number) { return range.index(of: whole) != nil }
      return false
    case .object(let view as JinjaView):
      if view.kind == .keys { return try view.dict.value(for: needle) != nil }
      return try view.items().contains { $0.isEqual(to: needle) }
    case .object(let iterator as JinjaIterator):
      while let item = iterator.takeOne() {
        if item.isEqual(to: needle) { return true }
      }
      return false
    default: throw .typeError("argument of type '\(typeName)' is not iterable")
    }
  }

  /// The elements a `for` would see. Iterators are used up.
  func elements() throws(TemplateError) -> [JinjaValue] {
    switch self {
    case .undefined: return []
    case .list(let list), .tuple(let list): return list.items
    case .dict(let dict): return dict.keys
    case .text(let text):
      var items: [JinjaValue] = []
      items.reserveCapacity(text.bytes.count)
      var place = 0
      while place < text.bytes.count {
        let width = JinjaText.width(of: text.bytes[place])
        items.append(.text(JinjaText(text.bytes[place..<min(place + width, text.bytes.count)])))
        place += width
      }
      return items
    case .object(let object):
      switch object {
      case let range as JinjaRange: return (0..<range.length).map { .int(range[$0]) }
      case let view as JinjaView: return try view.items()
      case let iterator as JinjaIterator: return iterator.takeAll()
      case let bytes as JinjaBytes: return bytes.bytes.map { .int(Int($0)) }
      default: throw .typeError("'\(typeName)' object is not iterable")
      }
    default: throw .typeError("'\(typeName)' object is not iterable")
    }
  }

  var isIterable: Bool {
    switch self {
    case .undefined, .list, .tuple, .dict, .text: true
    case .object(let object):
      object is JinjaRange || object is JinjaView || object is JinjaIterator || object is JinjaBytes
        || object is JinjaLoop
    default: false
    }
  }

  /// Python's `len`; nil where the type has none.
  var length: Int? {
    switch self {
    case .undefined: 0
    case .text(let text): text.count
    case .list(let list), .tuple(let list): list.items.count
    case .dict(let dict): dict.count
    case .object(let object): object.count
    default: nil
    }
  }
}

extension [JinjaValue] {
  /// Stable merge sort by `keys`, as Python sorts; throws where two keys have no order.
  func sorted(by keys: [JinjaValue], isReversed: Bool) throws(TemplateError) -> [JinjaValue] {
    var order = Array<Int>(indices)
    var spare = order
    var width = 1
    while width < count {
      var start = 0
      while start < count {
        let middle = Swift.min(start + width, count)
        let end = Swift.min(start + 2 * width, count)
        var left = start
        var right = middle
        for place in start..<end {
          let takesRight: Bool
          if left == middle {
            takesRight = true
          } else if right == end {
            takesRight = false
          } else if isReversed {
            takesRight = try keys[order[left]].order(keys[order[right]], symbol: "<") == -1
          } else {
            takesRight = try keys[order[right]].order(keys[order[left]], symbol: "<") == -1
          }
          spare[place] = order[takesRight ? right : left]
          if takesRight { right += 1 } else { left += 1 }
        }
        start = end
      }
      swap(&order, &spare)
      width *= 2
    }
    return order.map { self[$0] }
  }
}
