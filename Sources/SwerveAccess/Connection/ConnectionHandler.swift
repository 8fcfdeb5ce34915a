import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import SwerveCore

/// Sits between the HTTP codec and the request loop of one connection: notices that the client left while a request is
/// being answered, answers what is not HTTP with an error object, and confirms `Expect: 100-continue`.
///
/// A client that closes its sending side counts as gone. TCP cannot tell that from a full close before something is
/// written, and a request whose answer nobody reads must not occupy the engine.
final class ConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  private let registry: ConnectionRegistry
  private let watch = ConnectionWatch()
  /// Requests whose answer is not complete.
  private var unanswered = 0
  /// An error was answered; what still arrives is thrown away.
  private var isRejecting = false

  init(registry: ConnectionRegistry) { self.registry = registry }

  func handlerAdded(context: ChannelHandlerContext) { registry.add(watch, for: context.channel) }

  func handlerRemoved(context: ChannelHandlerContext) { leave(context) }

  func channelInactive(context: ChannelHandlerContext) {
    leave(context)
    context.fireChannelInactive()
  }

  private func leave(_ context: ChannelHandlerContext) {
    registry.remove(context.channel)
    watch.close()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isRejecting else { return }
    if case .head(let head) = unwrapInboundIn(data) {
      unanswered += 1
      if head.headerFields[.expect]?.lowercased() == "100-continue" {
        context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
      }
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .end = unwrapOutboundIn(data) { unanswered -= 1 }
    context.write(data, promise: promise)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard case ChannelEvent.inputClosed? = event as? ChannelEvent else {
      return context.fireUserInboundEventTriggered(event)
    }
    watch.close()
    context.fireUserInboundEventTriggered(event)
    context.close(promise: nil)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if isRejecting { return }
    // Lost connections end here; errors inside a body reach the handler that reads it.
    guard unanswered == 0, !(error is IOError), !(error is NIOCore.ChannelError) else {
      return context.fireErrorCaught(error)
    }
    isRejecting = true
    var headersTooLarge = false
    if case HTTPParserError.headerOverflow? = error as? HTTPParserError { headersTooLarge = true }
    let (status, body) = RequestError.connectionError(headersTooLarge: headersTooLarge)
    reject(context, status: status, body: body)
  }

  /// Answers and closes the sending side. The receiving side stays open until the client closes it or the idle timeout
  /// does: closing with unread bytes would take the answer back.
  private func reject(_ context: ChannelHandlerContext, status: HTTPResponse.Status, body: [UInt8]) {
    let headers: HTTPFields = [
      .contentType: "application/json", .contentLength: String(body.count), .connection: "close",
    ]
    context.write(wrapOutboundOut(.head(HTTPResponse(status: status, headerFields: headers))), promise: nil)
    context.write(wrapOutboundOut(.body(ByteBuffer(bytes: body))), promise: nil)
    let sent = context.eventLoop.makePromise(of: Void.self)
    let channel = context.channel
    sent.futureResult.whenComplete { _ in channel.close(mode: .output, promise: nil) }
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: sent)
  }
}
