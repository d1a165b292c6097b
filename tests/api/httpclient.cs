// The types of .NET that the sample of docs/api.md uses, as its documentation declares them, without anything behind them.
using System.Collections.Generic;
using System.Threading.Tasks;

namespace System.Text.Json
{
    public struct JsonElement
    {
        public JsonElement GetProperty(string propertyName) { throw null; }
        public string GetString() { throw null; }
        public bool GetBoolean() { throw null; }
        public ArrayEnumerator EnumerateArray() { throw null; }
        public override string ToString() { throw null; }

        public struct ArrayEnumerator : IEnumerable<JsonElement>
        {
            public IEnumerator<JsonElement> GetEnumerator() { throw null; }
            System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() { throw null; }
        }
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
        public void Add(string name, string value) { }
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
        public static HttpMethod Delete { get { throw null; } }
        public static HttpMethod Patch { get { throw null; } }
        public static HttpMethod Post { get { throw null; } }
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
        public HttpStatusCode StatusCode { get { throw null; } }
    }

    public class SocketsHttpHandler
    {
        public TimeSpan PooledConnectionLifetime { get; set; }
    }

    public class HttpClient
    {
        public HttpClient(SocketsHttpHandler handler) { }
        public Uri BaseAddress { get; set; }
        public HttpRequestHeaders DefaultRequestHeaders { get { throw null; } }
        public Task<HttpResponseMessage> GetAsync(string requestUri) { throw null; }
        public Task<HttpResponseMessage> PostAsync(string requestUri, HttpContent content) { throw null; }
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
        public static Task<T> GetFromJsonAsync<T>(this HttpClient client, string requestUri) { throw null; }
    }
}
