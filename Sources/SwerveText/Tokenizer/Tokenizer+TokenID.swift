package import SwerveCore

// The same calls in the words that rooms share. `TokenID` is one 32-bit integer, so the conversion is a copy.
extension Tokenizer {
  package func encode(_ text: String, addSpecialTokens: Bool) -> [TokenID] {
    encode(text, addSpecialTokens: addSpecialTokens, parseSpecial: true).map { TokenID(rawValue: $0) }
  }

  package func decode(_ tokens: [TokenID], skipSpecialTokens: Bool) -> String {
    decode(tokens.map(\.rawValue), skipSpecialTokens: skipSpecialTokens)
  }

  package func token(for token: TokenID) -> String? { self.token(for: token.rawValue) }
  package func bytes(of token: TokenID) -> [UInt8] { bytes(of: token.rawValue) }
}
