// The types of .NET that the sample of docs/api.md uses, as its documentation declares them, without anything behind them.
using System.Collections.Generic;
using System.Threading.Tasks;

namespace System.Text.Json
{
    public struct JsonElement
    {
        public JsonElement GetProperty(string propertyName) { throw null; }
        public string GetString() { throw null; }
        public override string ToString() { throw null; }
    }
}

namespace System.Net.Http.Headers
{
    public class AuthenticationHeaderValue
    {
        public AuthenticationHeaderValue(string scheme, string parameter) { }
    }

    public class EntityTagHeaderValue
    {
        public EntityTagHeaderValue(string tag) { }
    }

    public sealed class HttpHeaderValueCollection<T> where T : class
    {
        public void Add(T item) { }
    }

    public sealed class HttpRequestHeaders
    {
        public AuthenticationHeaderValue Authorization { get; set; }
        public HttpHeaderValueCollection<EntityTagHeaderValue> IfMatch { get { throw null; } }
    }

    public sealed class HttpResponseHeaders
    {
        public EntityTagHeaderValue ETag { get; set; }
        public Uri Location { get; set; }
    }
}

namespace System.Net.Http
{
    using System.Net.Http.Headers;

    public abstract class HttpContent { }

    public class HttpMethod
    {
        public static HttpMethod Patch { get { throw null; } }
    }

    public class HttpRequestMessage
    {
        public HttpRequestMessage(HttpMethod method, string requestUri) { }
        public HttpContent Content { get; set; }
        public HttpRequestHeaders Headers { get { throw null; } }
    }

    public class HttpResponseMessage
    {
        public HttpContent Content { get; set; }
        public HttpResponseHeaders Headers { get { throw null; } }
        public bool IsSuccessStatusCode { get { throw null; } }
        public HttpResponseMessage EnsureSuccessStatusCode() { throw null; }
    }

    public class HttpClient
    {
        public Uri BaseAddress { get; set; }
        public HttpRequestHeaders DefaultRequestHeaders { get { throw null; } }
        public Task<HttpResponseMessage> GetAsync(string requestUri) { throw null; }
        public Task<HttpResponseMessage> SendAsync(HttpRequestMessage request) { throw null; }
    }
}

namespace System.Net.Http.Json
{
    public sealed class JsonContent : HttpContent
    {
        public static JsonContent Create<T>(T inputValue) { throw null; }
    }

    public static class HttpContentJsonExtensions
    {
        public static Task<T> ReadFromJsonAsync<T>(this HttpContent content) { throw null; }
    }

    public static class HttpClientJsonExtensions
    {
        public static Task<HttpResponseMessage> PostAsJsonAsync<T>(this HttpClient client, string requestUri, T value) { throw null; }
        public static Task<T> GetFromJsonAsync<T>(this HttpClient client, Uri requestUri) { throw null; }
    }
}
