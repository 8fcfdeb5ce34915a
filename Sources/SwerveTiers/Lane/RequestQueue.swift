/// First in, first out; takes from the middle only to cancel.
struct RequestQueue<Element> {
  private var elements: [Element?] = []
  private var head = 0
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }

  mutating func reserve(_ capacity: Int) { elements.reserveCapacity(2 * capacity) }

  mutating func append(_ element: Element) {
    // Room is made before it is needed, at most once in as many appends as were removed.
    if head > 32, head * 2 > elements.count {
      elements.removeFirst(head)
      head = 0
    }
    elements.append(element)
    count += 1
  }

  mutating func popFirst() -> Element? {
    while head < elements.count {
      defer { head += 1 }
      if let element = elements[head] {
        elements[head] = nil
        count -= 1
        return element
      }
    }
    elements.removeAll(keepingCapacity: true)
    head = 0
    return nil
  }

  mutating func remove(where condition: (Element) -> Bool) -> Element? {
    for place in head..<elements.count {
      if let element = elements[place], condition(element) {
        elements[place] = nil
        count -= 1
        return element
      }
    }
    return nil
  }
}
